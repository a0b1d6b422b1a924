// SPDX-License-Identifier: GPL-2.0
/* The copy from host memory to VRAM that peer to peer saves. */
#include <immintrin.h>

#include "bench.h"

__attribute__((target("avx")))
static void copy_avx(char *to, const char *from, uint32_t bytes)
{
	const __m256i *in = (const void *)from;
	__m256i *out = (void *)to, part[8];
	uint32_t k;

	for (; bytes; bytes -= sizeof(part)) {
#pragma GCC unroll 8
		for (k = 0; k < ARRAY_SIZE(part); k++)
			part[k] = _mm256_load_si256(in++);
#pragma GCC unroll 8
		for (k = 0; k < ARRAY_SIZE(part); k++)
			_mm256_stream_si256(out++, part[k]);
	}
	_mm_sfence();
}

static void copy_sse(char *to, const char *from, uint32_t bytes)
{
	const __m128i *in = (const void *)from;
	__m128i *out = (void *)to, part[8];
	uint32_t k;

	for (; bytes; bytes -= sizeof(part)) {
#pragma GCC unroll 8
		for (k = 0; k < ARRAY_SIZE(part); k++)
			part[k] = _mm_load_si128(in++);
#pragma GCC unroll 8
		for (k = 0; k < ARRAY_SIZE(part); k++)
			_mm_stream_si128(out++, part[k]);
	}
	_mm_sfence();
}

/**
 * bench_copy - copy to VRAM as an application does today
 * @to: VRAM, mapped by the CPU
 * @from: host memory
 * @bytes: a multiple of 256
 *
 * The fastest copy there is into write-combined memory: non-temporal stores of
 * 32 bytes, or of 16 where the CPU has no wider ones.
 */
void bench_copy(char *to, const char *from, uint32_t bytes)
{
	if (__builtin_cpu_supports("avx"))
		copy_avx(to, from, bytes);
	else
		copy_sse(to, from, bytes);
}
