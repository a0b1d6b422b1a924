/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Connections that may not come about: the end that is not under test is made by
 * a thread, and gives up when it is told that nobody will come.
 */
#ifndef P2PBUF_TEST_RDMA_OTHER_H
#define P2PBUF_TEST_RDMA_OTHER_H

#include <stdatomic.h>

#include "p2pbuf_test_nvme.h"
#include "p2pbuf_test_rdma.h"

/**
 * struct ptd_other - an end in a thread of its own
 * @fd: its file
 * @listener: where it accepts
 * @port: ... or whom it calls
 * @stop: nobody will come any more
 * @ret: what the call returned
 */
struct ptd_other {
	int fd;
	int listener;
	int port;
	atomic_bool stop;
	int ret;
};

static inline void *ptd_other_accepts(void *arg)
{
	struct ptd_other *o = arg;
	struct p2pbuf_rdma_accept accept = {
		.size = sizeof(accept), .listen_fd = o->listener,
		.timeout_ms = 50,
	};

	do {
		o->ret = ptd_ioctl(o->fd, P2PBUF_RDMA_ACCEPT, &accept);
	} while (o->ret == -ETIMEDOUT && !o->stop);
	return NULL;
}

static inline void *ptd_other_calls(void *arg)
{
	struct ptd_other *o = arg;
	struct p2pbuf_rdma_limits none = {};

	o->ret = ptd_connect(o->fd, o->port, none);
	return NULL;
}

#define PTD_WORKS_ID	1

/*
 * Both ends are up, and a write of all @length bytes from the buffer of @a to
 * that of @b arrives. Both become PTD_WORKS_ID.
 */
static inline bool ptd_works(int a, const struct ptn_buffer *from, int b,
			     const struct ptn_buffer *to, __u32 length)
{
	const struct p2pbuf_rdma_cmd cmd = {
		.local_id = PTD_WORKS_ID, .remote_id = PTD_WORKS_ID,
		.length = length,
	};
	struct p2pbuf_rdma_remote_info info;
	static __u64 seed;
	struct io_uring ring;
	bool good;

	seed++;
	ptd_fill(from->map, length, seed);
	memset(to->map, PTD_POISON, length);
	if (ptd_ring(&ring, 8))
		return false;
	good = ptd_import(a, from->dmabuf, PTD_WORKS_ID) == PTD_WORKS_ID &&
	       ptd_import(b, to->dmabuf, PTD_WORKS_ID) == PTD_WORKS_ID &&
	       !ptd_grant(b, PTD_WORKS_ID, PTD_BOTH) &&
	       !ptd_regranted(a, PTD_WORKS_ID, &info) &&
	       ptd_io(&ring, a, P2PBUF_RDMA_URING_WRITE, &cmd) ==
			(int)length &&
	       ptd_check(to->map, length, seed) == length;
	io_uring_queue_exit(&ring);
	return good;
}

#endif /* P2PBUF_TEST_RDMA_OTHER_H */
