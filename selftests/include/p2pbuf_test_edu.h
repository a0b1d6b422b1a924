/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The edu device as an importer, for tests.
 *
 * Calls return 0, an fd, an id, or -errno. pte_open() loads the module and
 * says -ENODEV when there is no such device.
 */
#ifndef P2PBUF_TEST_EDU_H
#define P2PBUF_TEST_EDU_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>

#include "p2pbuf_edu.h"

static inline int pte_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

static inline int pte_ioctl_id(int fd, unsigned long request, int id)
{
	return ioctl(fd, request, (unsigned long)id) < 0 ? -errno : 0;
}

static inline int pte_open(void)
{
	int fd;

	if (access(P2PBUF_EDU_DEVICE, F_OK) &&
	    system("modprobe p2pbuf_edu 2>/dev/null"))
		return -ENODEV;

	fd = open(P2PBUF_EDU_DEVICE, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Attach the first edu; @p2p, if not NULL, is what became of the wish. */
static inline int pte_attach(int fd, int dmabuf_fd, __u32 flags, __u32 *p2p)
{
	struct p2pbuf_edu_attach attach = { .fd = dmabuf_fd, .flags = flags };
	int ret = pte_ioctl(fd, P2PBUF_EDU_ATTACH, &attach);

	if (p2p)
		*p2p = attach.p2p;
	return ret ? ret : (int)attach.id;
}

static inline int pte_detach(int fd, int id)
{
	return pte_ioctl_id(fd, P2PBUF_EDU_DETACH, id);
}

static inline int pte_map(int fd, int id, struct p2pbuf_edu_map *out)
{
	struct p2pbuf_edu_map map;

	if (!out)
		out = &map;
	memset(out, 0, sizeof(*out));
	out->id = id;
	return pte_ioctl(fd, P2PBUF_EDU_MAP, out);
}

static inline int pte_unmap(int fd, int id)
{
	return pte_ioctl_id(fd, P2PBUF_EDU_UNMAP, id);
}

static inline int pte_fence(int fd, int id, __u32 ms)
{
	struct p2pbuf_edu_fence fence = { .id = id, .ms = ms };

	return pte_ioctl(fd, P2PBUF_EDU_FENCE, &fence);
}

static inline int pte_stat(int fd, int id, struct p2pbuf_edu_stat *out)
{
	memset(out, 0, sizeof(*out));
	out->id = id;
	return pte_ioctl(fd, P2PBUF_EDU_STAT, out);
}

/* @request: P2PBUF_EDU_DMA or P2PBUF_EDU_CPU */
static inline int pte_copy(int fd, int id, unsigned long request, __u64 offset,
			   void *data, __u32 len, int write)
{
	struct p2pbuf_edu_copy copy = {
		.id = id,
		.write = write,
		.offset = offset,
		.data = (uintptr_t)data,
		.len = len,
	};

	return pte_ioctl(fd, request, &copy);
}

static inline int pte_dma_read(int fd, int id, __u64 offset, void *data,
			       __u32 len)
{
	return pte_copy(fd, id, P2PBUF_EDU_DMA, offset, data, len, 0);
}

static inline int pte_dma_write(int fd, int id, __u64 offset, void *data,
				__u32 len)
{
	return pte_copy(fd, id, P2PBUF_EDU_DMA, offset, data, len, 1);
}

/**
 * struct pte_loop - a thread that moves bytes by DMA and follows each move
 * @fd: the edu
 * @id: its attachment, mapped
 * @offset: where in the buffer
 * @stop: asked to stop
 * @done: bytes written and read back so often
 * @remapped: so often there was no mapping any more
 * @wrong: so often other bytes came back
 * @error: what went wrong besides, and ended it
 */
struct pte_loop {
	int fd;
	int id;
	__u64 offset;
	int stop;
	unsigned int done;
	unsigned int remapped;
	unsigned int wrong;
	int error;
};

/* One copy, by DMA, whatever the exporter does meanwhile. */
static inline int pte_loop_copy(struct pte_loop *loop, void *data, __u32 len,
				int write)
{
	int ret;

	for (;;) {
		ret = pte_copy(loop->fd, loop->id, P2PBUF_EDU_DMA, loop->offset,
			       data, len, write);
		if (ret != -ENXIO)
			return ret;
		loop->remapped++;
		ret = pte_map(loop->fd, loop->id, NULL);
		if (ret)
			return ret;
	}
}

/* For pthread_create(). */
static inline void *pte_loop_run(void *arg)
{
	struct pte_loop *loop = arg;
	__u64 bytes[64], back[64];
	unsigned int i;

	while (!__atomic_load_n(&loop->stop, __ATOMIC_ACQUIRE)) {
		for (i = 0; i < 64; i++)
			bytes[i] = ((__u64)loop->done << 32) + i;
		memset(back, 0xa5, sizeof(back));
		loop->error = pte_loop_copy(loop, bytes, sizeof(bytes), 1);
		if (!loop->error)
			loop->error = pte_loop_copy(loop, back, sizeof(back), 0);
		if (loop->error)
			break;
		loop->wrong += !!memcmp(bytes, back, sizeof(bytes));
		loop->done++;
	}
	return NULL;
}

#endif /* P2PBUF_TEST_EDU_H */
