/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * libp2pbuf-verbs: buffers of libp2pbuf as memory regions of an RDMA device.
 *
 * A library of its own, so that libp2pbuf does not need libibverbs. Link with
 * `pkg-config --libs p2pbuf-verbs`. Conventions are those of p2pbuf.h.
 */
#ifndef P2PBUF_VERBS_H
#define P2PBUF_VERBS_H

#include <stddef.h>
#include <stdint.h>
#include <infiniband/verbs.h>
#include <p2pbuf.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* The caller chooses the address of the region's first byte. */
#define P2PBUF_MR_IOVA		(1U << 8)

/*
 * @size: sizeof(struct p2pbuf_mr_opts)
 * @flags: P2PBUF_ALLOW_SYSTEM (p2pbuf.h), P2PBUF_MR_IOVA
 * @pad: zero
 * @offset: first byte of the buffer that is registered
 * @length: bytes registered; 0 is up to the buffer's end
 * @iova: with P2PBUF_MR_IOVA: the address that work requests name for the byte
 *	at @offset, as far into its page as @offset is; else zero, and addresses
 *	are offsets in the buffer
 */
struct p2pbuf_mr_opts {
	size_t size;
	uint32_t flags;
	uint32_t pad;
	uint64_t offset;
	uint64_t length;
	uint64_t iova;
};

/*
 * Register a buffer with the device of @pd. @access: IBV_ACCESS_*; @opts may be
 * NULL. End the region with ibv_dereg_mr(); it keeps the buffer's memory alive
 * without @buf.
 */
int p2pbuf_reg_mr(struct ibv_pd *pd, struct p2pbuf_buffer *buf, int access,
		  const struct p2pbuf_mr_opts *opts, struct ibv_mr **mr,
		  struct p2pbuf_error *error);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* P2PBUF_VERBS_H */
