/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * The header of a safetensors file: eight bytes of length, little-endian, a
 * JSON object of that length that names each tensor, and then the tensors'
 * bytes. A file comes from anywhere, so nothing in it is believed: all counts
 * are checked against the file's size before they are used.
 */
#ifndef SAFETENSORS_H
#define SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#define TENSOR_NAME	128
#define TENSOR_DTYPE	8

/*
 * @name: UTF-8, terminated
 * @dtype: "F32", "BF16", ...
 * @begin, @end: bytes in the file
 * @place: for the caller
 */
struct tensor {
	char name[TENSOR_NAME];
	char dtype[TENSOR_DTYPE];
	uint64_t begin;
	uint64_t end;
	uint64_t place;
};

struct tensors {
	struct tensor *list;
	size_t n;
	size_t room;
};

/*
 * Parse the @len bytes of JSON of a file of @file_size bytes. Tensors come in
 * the order of their bytes. NULL, or what is wrong with it.
 */
const char *tensors_parse(const char *json, size_t len, uint64_t file_size,
			  struct tensors *tensors);
void tensors_free(struct tensors *tensors);

#endif /* SAFETENSORS_H */
