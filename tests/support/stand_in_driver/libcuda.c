// A stand-in for NVIDIA's libcuda.so.1, for tests on machines without a GPU.
//
// Host memory plays device memory and streams run at once. Captures record work and graphs replay
// it; what CUDA forbids during a capture invalidates it, and everything that is made is counted.
// Only what cuda-core, PyNvVideoCodec and the tests call is here.
//
// CUDA_STAND_IN_DEVICES, CUDA_STAND_IN_VERSION (13000 is CUDA 13.0) steer it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
typedef uint64_t Address;
enum {
  SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, INVALID_CONTEXT = 201,
  INVALID_HANDLE = 400, NOT_FOUND = 500, ILLEGAL_ADDRESS = 700, NOT_SUPPORTED = 801,
  CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901
};
enum { HOST = 1, DEVICE = 2 };
enum { IDLE, CAPTURING, INVALID };

typedef struct { int device, magic; } Context;
typedef struct Step {
  void *to; const void *from; size_t size; void (*call)(void *); void *argument; struct Step *next;
} Step;
typedef struct { Step *first, *last; int alive; } Graph;
typedef struct { int alive, capture; Context *context; unsigned flags; Graph *graph; } Stream;
typedef struct Block { Address start; size_t size; int kind, device; struct Block *next; } Block;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Context primary[16];
static Stream legacy[16];
static Block *blocks;
static int lost, contexts_on[16];
static __thread Context *stack[64];
static __thread int depth;
// In the order that `stand_in_counts` gives them.
static struct {
  long streams, graphs, executables, device_blocks, host_blocks, events, launches, runs, captures,
      legacy_waits, spinning_waits, blocking_waits, copies_up, bytes_up, copies_down, bytes_down,
      contexts;
} counts;

static int number(const char *name, int otherwise) {
  const char *text = getenv(name);
  return text ? atoi(text) : otherwise;
}
static int devices(void) { return number("CUDA_STAND_IN_DEVICES", 1); }
static int cuda(void) { return number("CUDA_STAND_IN_VERSION", 13000); }
static Context *current(void) { return depth ? stack[depth - 1] : NULL; }
#define NEED_CONTEXT do { if (!current()) return INVALID_CONTEXT; } while (0)
#define NEED_ALIVE do { if (lost) return ILLEGAL_ADDRESS; } while (0)

static int is_default(const void *stream) { return (uintptr_t)stream <= 2; }
static Stream *stream_of(void *stream) {
  return is_default(stream) ? &legacy[current() ? current()->device : 0] : stream;
}
static Block *block_at(Address address) {
  for (Block *block = blocks; block; block = block->next)
    if (block->kind && block->start <= address && address < block->start + block->size)
      return block;
  return NULL;
}
static void append(Graph *graph, Step step) {
  Step *kept = malloc(sizeof step);
  *kept = step;
  kept->next = NULL;
  if (graph->last) graph->last->next = kept; else graph->first = kept;
  graph->last = kept;
}
static void perform(const Step *step) {
  if (step->call) step->call(step->argument);
  else memmove(step->to, step->from, step->size);
}
static Result submit(void *handle, Step step) {
  NEED_ALIVE;
  Stream *stream = stream_of(handle);
  if (!is_default(handle) && !stream->alive) return INVALID_HANDLE;
  if (stream->capture == INVALID) return CAPTURE_INVALIDATED;
  if (stream->capture == CAPTURING) { append(stream->graph, step); return SUCCESS; }
  perform(&step);
  return SUCCESS;
}

// The driver, its devices and their contexts.
Result cuInit(unsigned flags) { return SUCCESS; }
Result cuDriverGetVersion(int *version) { *version = cuda(); return SUCCESS; }
Result cuDeviceGetCount(int *count) { *count = devices(); return SUCCESS; }
Result cuDeviceGet(int *device, int ordinal) {
  if (ordinal < 0 || ordinal >= devices()) return INVALID_DEVICE;
  *device = ordinal;
  return SUCCESS;
}
Result cuDeviceGetName(char *name, int size, int device) {
  snprintf(name, size, "NVIDIA A100-SXM4-80GB");
  return SUCCESS;
}
Result cuDeviceTotalMem_v2(size_t *size, int device) { *size = 80ull << 30; return SUCCESS; }
Result cuMemGetInfo_v2(size_t *free, size_t *total) {
  NEED_CONTEXT;
  *free = *total = 80ull << 30;
  return SUCCESS;
}
Result cuDeviceGetUuid_v2(void *uuid, int device) { memset(uuid, device + 1, 16); return SUCCESS; }
Result cuDeviceGetAttribute(int *value, int attribute, int device) {
  // 75 and 76 are the compute capability, 1 the largest block, the rest are switches.
  *value = attribute == 75 ? 8 : attribute == 76 ? 0 : attribute == 1 ? 1024 : 1;
  return SUCCESS;
}
Result cuDevicePrimaryCtxRetain(void **context, int device) {
  if (device < 0 || device >= devices()) return INVALID_DEVICE;
  primary[device].device = device;
  *context = &primary[device];
  return SUCCESS;
}
Result cuDevicePrimaryCtxRelease_v2(int device) { return SUCCESS; }
Result cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
  *flags = 0;
  *active = 1;
  return SUCCESS;
}
Result cuCtxGetCurrent(void **context) { *context = current(); return SUCCESS; }
Result cuCtxSetCurrent(void *context) {
  if (!context) { if (depth) depth--; return SUCCESS; }
  if (depth) stack[depth - 1] = context; else stack[depth++] = context;
  return SUCCESS;
}
Result cuCtxPushCurrent_v2(void *context) { stack[depth++] = context; return SUCCESS; }
Result cuCtxPopCurrent_v2(void **context) {
  if (!depth) return INVALID_CONTEXT;
  depth--;
  if (context) *context = stack[depth];
  return SUCCESS;
}
Result cuCtxGetDevice(int *device) { NEED_CONTEXT; *device = current()->device; return SUCCESS; }
Result cuCtxGetDevice_v2(int *device, void *context) {
  Context *asked = context ? context : current();
  if (!asked) return INVALID_CONTEXT;
  *device = asked->device;
  return SUCCESS;
}
Result cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  NEED_CONTEXT;
  *least = 0;
  *greatest = -5;
  return SUCCESS;
}
Result cuCtxSynchronize(void) { NEED_CONTEXT; NEED_ALIVE; return SUCCESS; }
Result cuCtxGetId(void *context, unsigned long long *id) { *id = 1; return SUCCESS; }
Result cuCtxCreate_v2(void **context, unsigned flags, int device) {
  Context *made = calloc(1, sizeof *made);
  made->device = device;
  *context = stack[depth++] = made;
  counts.contexts++;
  contexts_on[device]++;
  return SUCCESS;
}
Result cuCtxDestroy_v2(void *context) {
  if (current() == context) depth--;
  free(context);
  return SUCCESS;
}

// Streams and events.
Result cuStreamCreateWithPriority(void **stream, unsigned flags, int priority) {
  NEED_CONTEXT;
  NEED_ALIVE;
  Stream *made = calloc(1, sizeof *made);
  made->alive = 1;
  made->context = current();
  made->flags = flags;
  *stream = made;
  counts.streams++;
  return SUCCESS;
}
Result cuStreamCreate(void **stream, unsigned flags) {
  return cuStreamCreateWithPriority(stream, flags, 0);
}
Result cuStreamDestroy_v2(void *handle) {
  Stream *stream = handle;
  if (!stream->alive) return INVALID_HANDLE;
  stream->alive = 0;
  counts.streams--;
  return SUCCESS;
}
Result cuStreamSynchronize(void *handle) {
  NEED_CONTEXT;
  NEED_ALIVE;
  if (is_default(handle)) { counts.legacy_waits++; return SUCCESS; }
  Stream *stream = handle;
  if (!stream->alive) return INVALID_HANDLE;
  if (stream->capture) { stream->capture = INVALID; return CAPTURE_UNSUPPORTED; }
  counts.spinning_waits++;
  return SUCCESS;
}
Result cuStreamGetCtx(void *stream, void **context) {
  *context = stream_of(stream)->context;
  return SUCCESS;
}
Result cuStreamGetFlags(void *stream, unsigned *flags) {
  *flags = stream_of(stream)->flags;
  return SUCCESS;
}
Result cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return SUCCESS; }
Result cuEventCreate(void **event, unsigned flags) {
  NEED_CONTEXT;
  *event = malloc(sizeof(unsigned));
  *(unsigned *)*event = flags;
  counts.events++;
  return SUCCESS;
}
Result cuEventRecord(void *event, void *stream) { NEED_ALIVE; return SUCCESS; }
Result cuEventQuery(void *event) { NEED_ALIVE; return SUCCESS; }
Result cuEventSynchronize(void *event) {
  NEED_ALIVE;
  // Flag 1 asks for a wait that blocks.
  if (*(unsigned *)event & 1) counts.blocking_waits++; else counts.spinning_waits++;
  return SUCCESS;
}
Result cuEventDestroy_v2(void *event) { free(event); counts.events--; return SUCCESS; }

// Captures and graphs.
Result cuStreamIsCapturing(void *stream, int *status) {
  *status = stream_of(stream)->capture;
  return SUCCESS;
}
Result cuStreamBeginCapture_v2(void *handle, int mode) {
  if (is_default(handle)) return CAPTURE_UNSUPPORTED;
  Stream *stream = handle;
  stream->capture = CAPTURING;
  stream->graph = calloc(1, sizeof *stream->graph);
  stream->graph->alive = 1;
  counts.graphs++;
  counts.captures++;
  return SUCCESS;
}
Result cuStreamEndCapture(void *handle, void **graph) {
  Stream *stream = stream_of(handle);
  if (!stream->capture) return INVALID_VALUE;
  int state = stream->capture;
  Graph *made = stream->graph;
  stream->capture = IDLE;
  stream->graph = NULL;
  if (graph) *graph = state == INVALID ? NULL : made;
  if (state != INVALID) return SUCCESS;
  made->alive = 0;
  counts.graphs--;
  return CAPTURE_INVALIDATED;
}
Result cuStreamGetCaptureInfo_v2(void *handle, int *status, uint64_t *id, void **graph,
                                 const void ***dependencies, size_t *size) {
  Stream *stream = stream_of(handle);
  if (status) *status = stream->capture;
  if (id) *id = 1;
  if (graph) *graph = stream->capture == CAPTURING ? stream->graph : NULL;
  if (dependencies) *dependencies = NULL;
  if (size) *size = 0;
  return SUCCESS;
}
Result cuStreamGetCaptureInfo_v3(void *handle, int *status, uint64_t *id, void **graph,
                                 const void ***dependencies, const void ***edges, size_t *size) {
  if (edges) *edges = NULL;
  return cuStreamGetCaptureInfo_v2(handle, status, id, graph, dependencies, size);
}
Result cuGraphInstantiateWithParams(void **executable, void *handle, void *parameters) {
  Graph *graph = handle, *made = calloc(1, sizeof *made);
  if (!graph || !graph->alive) return INVALID_VALUE;
  if (parameters) ((int *)parameters)[6] = 0;
  made->alive = 1;
  for (Step *step = graph->first; step; step = step->next) append(made, *step);
  *executable = made;
  counts.executables++;
  return SUCCESS;
}
Result cuGraphDestroy(void *handle) {
  Graph *graph = handle;
  if (!graph->alive) return INVALID_VALUE;
  graph->alive = 0;
  counts.graphs--;
  return SUCCESS;
}
Result cuGraphExecDestroy(void *handle) {
  Graph *graph = handle;
  if (!graph->alive) return INVALID_VALUE;
  graph->alive = 0;
  counts.executables--;
  return SUCCESS;
}
Result cuGraphLaunch(void *handle, void *stream) {
  Graph *graph = handle;
  NEED_CONTEXT;
  if (!graph->alive) return INVALID_HANDLE;
  counts.launches++;
  for (Step *step = graph->first; step; step = step->next) {
    Result result = submit(stream, *step);
    if (result) return result;
  }
  return SUCCESS;
}
Result cuGraphUpload(void *graph, void *stream) { return SUCCESS; }
Result cuUserObjectCreate(void **object, void *pointer, void (*free_it)(void *), unsigned count,
                          unsigned flags) {
  *object = malloc(8);
  return SUCCESS;
}
Result cuUserObjectRelease(void *object, unsigned count) { return SUCCESS; }
Result cuUserObjectRetain(void *object, unsigned count) { return SUCCESS; }
Result cuGraphRetainUserObject(void *graph, void *object, unsigned count, unsigned flags) {
  return SUCCESS;
}
Result cuGraphReleaseUserObject(void *graph, void *object, unsigned count) { return SUCCESS; }

// Memory.
static Result allocate(void **memory, size_t size, int kind) {
  NEED_CONTEXT;
  NEED_ALIVE;
  if (posix_memalign(memory, 512, size ? size : 1)) return OUT_OF_MEMORY;
  memset(*memory, 0xA5, size);
  Block *block = calloc(1, sizeof *block);
  *block = (Block){(Address)*memory, size ? size : 1, kind, current()->device, NULL};
  pthread_mutex_lock(&lock);
  block->next = blocks;
  blocks = block;
  if (kind == HOST) counts.host_blocks++; else counts.device_blocks++;
  pthread_mutex_unlock(&lock);
  return SUCCESS;
}
static Result release(Address address, int kind) {
  NEED_CONTEXT;
  Result result = INVALID_VALUE;
  pthread_mutex_lock(&lock);
  Block *block = block_at(address);
  if (block && block->kind == kind && block->start == address) {
    // The memory stays: a later use finds rubbish instead of a crash.
    memset((void *)address, 0x5A, block->size);
    block->kind = 0;
    if (kind == HOST) counts.host_blocks--; else counts.device_blocks--;
    result = SUCCESS;
  }
  pthread_mutex_unlock(&lock);
  return result;
}
Result cuMemAllocHost_v2(void **memory, size_t size) { return allocate(memory, size, HOST); }
Result cuMemFreeHost(void *memory) { return release((Address)memory, HOST); }
Result cuMemAlloc_v2(Address *memory, size_t size) {
  return allocate((void **)memory, size, DEVICE);
}
Result cuMemFree_v2(Address memory) { return release(memory, DEVICE); }
Result cuMemAllocAsync(Address *memory, size_t size, void *stream) {
  if (stream_of(stream)->capture) {
    stream_of(stream)->capture = INVALID;
    return CAPTURE_UNSUPPORTED;
  }
  return cuMemAlloc_v2(memory, size);
}
Result cuMemAllocFromPoolAsync(Address *memory, size_t size, void *pool, void *stream) {
  return cuMemAllocAsync(memory, size, stream);
}
Result cuMemFreeAsync(Address memory, void *stream) { return cuMemFree_v2(memory); }
Result cuMemAllocPitch_v2(Address *memory, size_t *pitch, size_t width, size_t height, unsigned e) {
  *pitch = (width + 511) / 512 * 512;
  return cuMemAlloc_v2(memory, *pitch * height);
}
static char the_pool[8];
Result cuDeviceGetDefaultMemPool(void **pool, int device) { *pool = the_pool; return SUCCESS; }
Result cuDeviceGetMemPool(void **pool, int device) { *pool = the_pool; return SUCCESS; }
Result cuMemGetMemPool(void **pool, void *location, int type) { *pool = the_pool; return SUCCESS; }
Result cuMemGetDefaultMemPool(void **pool, void *location, int type) {
  *pool = the_pool;
  return SUCCESS;
}
Result cuMemPoolGetAttribute(void *pool, int attribute, void *value) {
  *(uint64_t *)value = 0;
  return SUCCESS;
}
Result cuMemPoolSetAttribute(void *pool, int attribute, void *value) { return SUCCESS; }
static int kind_of(Address address) {
  pthread_mutex_lock(&lock);
  Block *block = block_at(address);
  int kind = block ? block->kind : HOST;
  pthread_mutex_unlock(&lock);
  return kind;
}
Result cuMemcpyAsync(Address to, Address from, size_t size, void *stream) {
  NEED_CONTEXT;
  int target = kind_of(to), source = kind_of(from);
  if (source == HOST && target == DEVICE) { counts.copies_up++; counts.bytes_up += size; }
  if (source == DEVICE && target == HOST) { counts.copies_down++; counts.bytes_down += size; }
  return submit(stream, (Step){(void *)to, (void *)from, size, NULL, NULL, NULL});
}
Result cuMemcpyDtoHAsync_v2(void *to, Address from, size_t size, void *stream) {
  return cuMemcpyAsync((Address)to, from, size, stream);
}
Result cuMemcpyDtoH_v2(void *to, Address from, size_t size) {
  return cuMemcpyAsync((Address)to, from, size, NULL);
}
Result cuMemcpyHtoD_v2(Address to, const void *from, size_t size) {
  return cuMemcpyAsync(to, (Address)from, size, NULL);
}
typedef struct {
  size_t from_x, from_y; int from_type; const void *from_host; Address from_device; void *from_array;
  size_t from_pitch, to_x, to_y; int to_type; void *to_host; Address to_device; void *to_array;
  size_t to_pitch, width, height;
} Rectangle;
Result cuMemcpy2D_v2(const Rectangle *copy) {
  const char *from = copy->from_type == 1 ? copy->from_host : (const char *)copy->from_device;
  char *to = copy->to_type == 1 ? copy->to_host : (char *)copy->to_device;
  from += copy->from_y * copy->from_pitch + copy->from_x;
  to += copy->to_y * copy->to_pitch + copy->to_x;
  for (size_t row = 0; row < copy->height; row++)
    memcpy(to + row * copy->to_pitch, from + row * copy->from_pitch, copy->width);
  return SUCCESS;
}
Result cuMemcpy2DAsync_v2(const Rectangle *copy, void *stream) {
  if (stream_of(stream)->capture) return CAPTURE_UNSUPPORTED;
  return cuMemcpy2D_v2(copy);
}
Result cuPointerGetAttribute(void *value, int attribute, Address address) {
  pthread_mutex_lock(&lock);
  Block *block = block_at(address);
  // 2 asks for the kind of memory, 9 for the device.
  if (attribute == 2) *(unsigned *)value = block ? (block->kind == HOST ? 1 : 2) : 0;
  else if (attribute == 9) *(int *)value = block ? block->device : -2;
  else *(int *)value = 0;
  pthread_mutex_unlock(&lock);
  return SUCCESS;
}
Result cuPointerGetAttributes(unsigned size, int *attributes, void **values, Address address) {
  for (unsigned i = 0; i < size; i++) cuPointerGetAttribute(values[i], attributes[i], address);
  return SUCCESS;
}

Result cuGetErrorName(int error, const char **name) {
  static const struct { int code; const char *name; } names[] = {
      {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
      {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
      {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
      {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
      {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"},
      {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"},
      {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED"},
      {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
      {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"}};
  *name = "CUDA_ERROR_UNKNOWN";
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (names[i].code == error) *name = names[i].name;
  return SUCCESS;
}
Result cuGetErrorString(int error, const char **text) { return cuGetErrorName(error, text); }

Result cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags,
                           int *status) {
  static void *own;
  if (!own) own = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
  const char *suffixes[] = {"_v3", "_v2", ""};
  char wanted[128];
  *function = NULL;
  // Both forms of these exist; the caller's CUDA decides.
  int newest = strcmp(name, "cuStreamGetCaptureInfo") ? 0 : version >= 12030 ? 0 : 1;
  int plain = !strcmp(name, "cuCtxGetDevice") && version < 13000;
  for (int i = plain ? 2 : newest; i < 3 && !*function && version <= cuda(); i++) {
    snprintf(wanted, sizeof wanted, "%s%s", name, suffixes[i]);
    *function = dlsym(own ? own : RTLD_DEFAULT, wanted);
  }
  if (status) *status = *function ? 0 : 1;
  return *function ? SUCCESS : NOT_FOUND;
}

// What the tests ask for.
int stand_in_run(void *stream, void (*call)(void *), void *argument) {
  counts.runs++;
  return submit(stream, (Step){NULL, NULL, 0, call, argument, NULL});
}
int stand_in_capturing(void *stream) { return stream_of(stream)->capture == CAPTURING; }
void stand_in_invalidate(void *stream) {
  if (stream_of(stream)->capture) stream_of(stream)->capture = INVALID;
}
void stand_in_lose(int on) { lost = on; }
int stand_in_contexts_on(int device) { return contexts_on[device]; }
void stand_in_counts(long *out) { memcpy(out, &counts, sizeof counts); }
