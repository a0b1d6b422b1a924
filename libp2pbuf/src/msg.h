/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The message that travels with a dma-buf; see msg.c. */
#ifndef P2PBUF_MSG_H
#define P2PBUF_MSG_H

#include "internal.h"

#define P2PBUF_MSG_MAGIC	0x42503250u	/* "P2PB" in memory */
#define P2PBUF_MSG_VERSION	1

/*
 * @magic: P2PBUF_MSG_MAGIC
 * @version: P2PBUF_MSG_VERSION
 * @size: sizeof(struct p2pbuf_msg)
 * @offset: first byte of the range that is meant
 * @length: bytes of it, not 0
 * @buffer_length: bytes of the whole buffer
 * @generation: of the buffer when it was sent, 0 unknown
 * @name: terminated
 * @reserved: zero
 *
 * In the machine's own byte order: it never leaves the machine.
 */
struct p2pbuf_msg {
	uint32_t magic;
	uint16_t version;
	uint16_t size;
	uint64_t offset;
	uint64_t length;
	uint64_t buffer_length;
	uint64_t generation;
	char name[64];
	uint64_t reserved[3];
};

_Static_assert(sizeof(struct p2pbuf_msg) == 128, "same on every machine");

int p2pbuf_msg_make(struct p2pbuf_msg *msg, uint64_t buffer_length,
		    uint64_t generation, const struct p2pbuf_meta *meta,
		    struct p2pbuf_error *error);
/*
 * Judges @len received bytes that came with @nfds descriptors. Depends on
 * nothing else and has no side effect but filling @meta on success.
 */
int p2pbuf_msg_parse(const void *bytes, size_t len, unsigned int nfds,
		     struct p2pbuf_meta *meta, struct p2pbuf_error *error);

#endif /* P2PBUF_MSG_H */
