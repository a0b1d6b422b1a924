/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Harnesses for libFuzzer, one program for each thing the library parses.
 *
 * A harness aborts when the library breaks a promise; the sanitizers do when
 * it breaks C.
 */
#ifndef P2PBUF_LIB_FUZZ_H
#define P2PBUF_LIB_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PROMISE(what) \
	do { \
		if (!(what)) { \
			fprintf(stderr, "broken promise: %s\n", #what); \
			abort(); \
		} \
	} while (0)

/* Bytes of the input, taken from its front. */
struct input {
	const uint8_t *data;
	size_t size;
};

static inline size_t input_bytes(struct input *in, void *out, size_t n)
{
	size_t got = n < in->size ? n : in->size;

	memset(out, 0, n);
	if (got)
		memcpy(out, in->data, got);
	in->data += got;
	in->size -= got;
	return got;
}

static inline uint8_t input_byte(struct input *in)
{
	uint8_t byte;

	input_bytes(in, &byte, sizeof(byte));
	return byte;
}

#endif /* P2PBUF_LIB_FUZZ_H */
