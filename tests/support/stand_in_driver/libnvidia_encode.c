// A stand-in for NVIDIA's libnvidia-encode.so.1: PyNvVideoCodec looks for it when it is imported.
#include <stdint.h>

int NvEncodeAPIGetMaxSupportedVersion(uint32_t *version) {
  *version = 13 << 4;
  return 0;
}
int NvEncodeAPICreateInstance(void *functions) { return 0; }
