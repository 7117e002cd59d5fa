// A stand-in for NVIDIA's libnvcuvid.so.1, for tests on machines without a GPU.
//
// It decodes nothing: pictures are flat, and a table says which colour each packet shows and when.
// The parser hands pictures out in the order they are shown, as the real one does, so that
// pictures that refer to later ones are reordered.
//
// CUDA_STAND_IN_PICTURES names the table: a line a packet, "hash order y u v" (see `films`).
// CUDA_STAND_IN_WIDTH, CUDA_STAND_IN_HEIGHT are the film's size, CUDA_STAND_IN_DECODE_US the time of
// a picture. A picture of the colour 1 1 1 crashes, one of 2 2 2 never ends, one of 3 3 3 loses the
// GPU. CUDA_STAND_IN_TRACE names a file that gets a line "what process" for each decoder made.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, FAILED = 999, NOT_SUPPORTED = 801, SURFACES = 16, HELD = 4 };
enum { END_OF_STREAM = 1, DISCONTINUITY = 4, END_OF_PICTURE = 8 };

// NVIDIA's structures, as far as they are read or written here.
typedef struct {
  int codec, chroma; unsigned extra_bits, reserved[3];
  unsigned char supported, engines; unsigned short formats;
  unsigned widest, highest, most_blocks; unsigned short narrowest, lowest;
} Capabilities;
typedef struct {
  int codec; unsigned surfaces, clock, errors, delay, flags, reserved[4];
  void *user;
  int (*sequence)(void *, void *), (*decode)(void *, void *), (*display)(void *, void *);
} ParserParameters;
typedef struct { unsigned long flags, size; const unsigned char *payload; long long time; } Packet;
typedef struct {
  int codec; unsigned rate, per; unsigned char progressive, luma_bits, chroma_bits, surfaces;
  unsigned width, height; int left, top, right, bottom, chroma; unsigned bitrate; int aspect[2];
  unsigned char signal[4]; unsigned header_size;
} Format;
typedef struct { int width, height, surface; char rest[8192]; } PictureParameters;
typedef struct { int surface, progressive, top_first, repeated; long long time; } Shown;
typedef struct {
  unsigned long width, height, surfaces; int codec, chroma;
  unsigned long flags, extra_bits, intra_only, widest, highest, reserved; short area[4];
  int format, deinterlacing; unsigned long target_width, target_height, outputs;
} DecoderParameters;

typedef struct { uint32_t hash; int order; unsigned char y, u, v; } Picture;
typedef struct { int surface, order; long long time; } Waiting;
typedef struct {
  ParserParameters parameters;
  int known, next, held;
  Waiting waiting[64];
} Parser;
typedef struct {
  DecoderParameters parameters;
  Picture surfaces[SURFACES];
  unsigned char *mapped;
} Decoder;

static Picture *table;
static int pictures, living_parsers, living_decoders, made_decoders, mapped, ends, breaks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread const Picture *under_way;

static void trace(const char *what) {
  const char *name = getenv("CUDA_STAND_IN_TRACE");
  FILE *file = name ? fopen(name, "a") : NULL;
  if (!file) return;
  fprintf(file, "%s %d\n", what, getpid());
  fclose(file);
}
static int number(const char *name, int otherwise) {
  const char *text = getenv(name);
  return text ? atoi(text) : otherwise;
}
static void read_table(void) {
  pthread_mutex_lock(&lock);
  const char *name = getenv("CUDA_STAND_IN_PICTURES");
  FILE *file = table || !name ? NULL : fopen(name, "r");
  if (file) {
    table = calloc(65536, sizeof *table);
    Picture *one = table;
    unsigned hash, y, u, v;
    while (fscanf(file, "%u %d %u %u %u", &hash, &one->order, &y, &u, &v) == 5) {
      one->hash = hash;
      one->y = y;
      one->u = u;
      one->v = v;
      one++;
      pictures++;
    }
    fclose(file);
  }
  pthread_mutex_unlock(&lock);
}
static const Picture *picture_of(const unsigned char *payload, unsigned long size) {
  // Headers may come before the last unit, which is the picture.
  uint32_t hash = 2166136261u;
  unsigned long from = size > 3 ? size - 3 : 0;
  while (from && (payload[from] || payload[from + 1] || payload[from + 2] != 1)) from--;
  for (unsigned long i = from; i < size; i++) hash = (hash ^ payload[i]) * 16777619u;
  for (int i = 0; i < pictures; i++)
    if (table[i].hash == hash) return &table[i];
  return NULL;
}

int cuvidGetDecoderCaps(Capabilities *found) {
  found->supported = 1;
  found->engines = 5;
  found->formats = 3;
  found->widest = found->highest = 8192;
  found->most_blocks = 262144;
  found->narrowest = 48;
  found->lowest = 16;
  return SUCCESS;
}
int cuvidCreateVideoParser(void **made, ParserParameters *parameters) {
  read_table();
  Parser *parser = calloc(1, sizeof *parser);
  parser->parameters = *parameters;
  *made = parser;
  __sync_fetch_and_add(&living_parsers, 1);
  return SUCCESS;
}
int cuvidDestroyVideoParser(void *parser) {
  free(parser);
  __sync_fetch_and_sub(&living_parsers, 1);
  return SUCCESS;
}
static int show(Parser *parser, int kept) {
  while (parser->held > kept) {
    int first = 0;
    for (int i = 1; i < parser->held; i++)
      if (parser->waiting[i].order < parser->waiting[first].order) first = i;
    Waiting one = parser->waiting[first];
    parser->waiting[first] = parser->waiting[--parser->held];
    Shown shown = {one.surface, 1, 0, 0, one.time};
    if (!parser->parameters.display(parser->parameters.user, &shown)) return FAILED;
  }
  return SUCCESS;
}
int cuvidParseVideoData(void *handle, Packet *packet) {
  Parser *parser = handle;
  if (packet->flags & DISCONTINUITY) __sync_fetch_and_add(&breaks, 1);
  if (packet->size) {
    if (!parser->known) {
      parser->known = 1;
      int width = number("CUDA_STAND_IN_WIDTH", 320), height = number("CUDA_STAND_IN_HEIGHT", 176);
      Format format = {.codec = parser->parameters.codec, .rate = 25, .per = 1, .progressive = 1,
                       .surfaces = SURFACES, .width = (width + 15) / 16 * 16,
                       .height = (height + 15) / 16 * 16, .right = width, .bottom = height,
                       .chroma = 1};
      if (!parser->parameters.sequence(parser->parameters.user, &format)) return FAILED;
    }
    const Picture *picture = picture_of(packet->payload, packet->size);
    if (picture) {
      PictureParameters *asked = calloc(1, sizeof *asked);
      asked->width = 20;
      asked->surface = parser->next++ % SURFACES;
      under_way = picture;
      int accepted = parser->parameters.decode(parser->parameters.user, asked);
      Waiting one = {asked->surface, picture->order, packet->time};
      free(asked);
      if (!accepted) return FAILED;
      parser->waiting[parser->held++] = one;
      if (show(parser, HELD)) return FAILED;
    }
  }
  if (packet->flags & END_OF_STREAM) {
    __sync_fetch_and_add(&ends, 1);
    return show(parser, 0);
  }
  return SUCCESS;
}
int cuvidCreateDecoder(void **made, DecoderParameters *parameters) {
  Decoder *decoder = calloc(1, sizeof *decoder);
  decoder->parameters = *parameters;
  *made = decoder;
  trace("decoder");
  __sync_fetch_and_add(&living_decoders, 1);
  __sync_fetch_and_add(&made_decoders, 1);
  return SUCCESS;
}
int cuvidDestroyDecoder(void *handle) {
  free(((Decoder *)handle)->mapped);
  free(handle);
  __sync_fetch_and_sub(&living_decoders, 1);
  return SUCCESS;
}
int cuvidReconfigureDecoder(void *decoder, void *parameters) {
  trace("reconfigured");
  return SUCCESS;
}
void stand_in_lose(int lost);
int cuvidDecodePicture(void *handle, PictureParameters *asked) {
  int pause = number("CUDA_STAND_IN_DECODE_US", 0);
  if (pause) usleep(pause);
  if (under_way->y == 1 && under_way->u == 1) abort();
  while (under_way->y == 2 && under_way->u == 2) usleep(10000);
  if (under_way->y == 3 && under_way->u == 3) {
    stand_in_lose(1);
    return FAILED;
  }
  ((Decoder *)handle)->surfaces[asked->surface] = *under_way;
  return SUCCESS;
}
int cuvidGetDecodeStatus(void *decoder, int surface, int *status) {
  *status = 2;
  return SUCCESS;
}
int cuvidMapVideoFrame64(void *handle, int surface, unsigned long long *address, unsigned *pitch,
                         void *parameters) {
  Decoder *decoder = handle;
  unsigned width = decoder->parameters.target_width;
  unsigned height = (decoder->parameters.target_height + 1) & ~1u, step = (width + 511) / 512 * 512;
  if (!decoder->mapped) decoder->mapped = malloc(step * (height + height / 2));
  Picture *picture = &decoder->surfaces[surface];
  memset(decoder->mapped, 0x11, step * (height + height / 2));
  for (unsigned row = 0; row < height; row++)
    memset(decoder->mapped + row * step, picture->y, width);
  for (unsigned row = 0; row < height / 2; row++)
    for (unsigned column = 0; column < width; column += 2) {
      decoder->mapped[(height + row) * step + column] = picture->u;
      decoder->mapped[(height + row) * step + column + 1] = picture->v;
    }
  *address = (unsigned long long)decoder->mapped;
  *pitch = step;
  __sync_fetch_and_add(&mapped, 1);
  return SUCCESS;
}
int cuvidUnmapVideoFrame64(void *handle, unsigned long long address) {
  // What is read after it was given back is wrong.
  memset(((Decoder *)handle)->mapped, 0x77, 512);
  return SUCCESS;
}
int cuvidCtxLockCreate(void **made, void *context) { *made = malloc(8); return SUCCESS; }
int cuvidCtxLockDestroy(void *made) { free(made); return SUCCESS; }
int cuvidCtxLock(void *made, unsigned flags) { return SUCCESS; }
int cuvidCtxUnlock(void *made, unsigned flags) { return SUCCESS; }
// PyNvVideoCodec names these and never calls them here.
int cuvidCreateVideoSource(void *made, const char *name, void *more) { return NOT_SUPPORTED; }
int cuvidCreateVideoSourceW(void *made, const void *name, void *more) { return NOT_SUPPORTED; }
int cuvidDestroyVideoSource(void *source) { return SUCCESS; }
int cuvidSetVideoSourceState(void *source, int state) { return SUCCESS; }
int cuvidGetVideoSourceState(void *source) { return SUCCESS; }
int cuvidGetSourceVideoFormat(void *source, void *format, unsigned flags) { return NOT_SUPPORTED; }
int cuvidGetSourceAudioFormat(void *source, void *format, unsigned flags) { return NOT_SUPPORTED; }

// What the tests ask for.
void stand_in_decoding(int *out) {
  int found[] = {living_parsers, living_decoders, made_decoders, mapped, ends, breaks};
  memcpy(out, found, sizeof found);
}
