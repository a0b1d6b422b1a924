/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Two objects of one exporter as the ends of a connection: bytes go from one to
 * the other and back, while both move between VRAM and host memory.
 */
#ifndef P2PBUF_TEST_RDMA_VRAM_H
#define P2PBUF_TEST_RDMA_VRAM_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "p2pbuf_test_exporter.h"
#include "p2pbuf_test_rdma.h"

#define PTD_OBJECT	(3 * PTD_MIB)
#define PTD_MOVES	12

/**
 * struct ptd_object - an object of an exporter
 * @handle: its handle
 * @dmabuf: its dma-buf
 * @map: the CPU's mapping
 */
struct ptd_object {
	__u32 handle;
	int dmabuf;
	__u8 *map;
};

/**
 * struct ptd_ends - two objects, each imported by its end
 * @exporter: render node
 * @pair: the connection
 * @here: imported by the caller
 * @there: imported by the called, and granted
 */
struct ptd_ends {
	int exporter;
	struct ptd_pair pair;
	struct ptd_object here;
	struct ptd_object there;
};

static inline int ptd_object_make(int exporter, struct ptd_object *o)
{
	struct drm_p2pbuf_gem_create create;
	int ret;

	ret = ptx_create(exporter, PTD_OBJECT, P2PBUF_PLACEMENT_VRAM, 0,
			 &create);
	if (ret)
		return ret;
	o->handle = create.handle;
	o->dmabuf = ptx_export(exporter, o->handle, true);
	o->map = ptx_mmap(exporter, PTD_OBJECT, create.mmap_offset);
	return o->dmabuf < 0 || !o->map ? -EIO : 0;
}

static inline void ptd_object_end(struct ptd_object *o)
{
	if (o->map)
		munmap(o->map, PTD_OBJECT);
	if (o->dmabuf > 0)
		close(o->dmabuf);
}

static inline __u32 ptd_object_place(int exporter, const struct ptd_object *o)
{
	struct drm_p2pbuf_gem_info info;

	return ptx_info(exporter, o->handle, &info) ? 0 : info.placement;
}

/* Without P2PBUF_RDMA_IMPORT_ALLOW_SYSTEM. */
static inline int ptd_object_import(int fd, const struct ptd_object *o,
				    struct p2pbuf_rdma_import *arg)
{
	*arg = (struct p2pbuf_rdma_import){
		.size = sizeof(*arg), .dmabuf_fd = o->dmabuf, .id = 1,
	};
	return ptd_ioctl(fd, P2PBUF_RDMA_IMPORT, arg);
}

/* All but the first and the last page there, and back to zeroes. */
static inline bool ptd_there_and_back(struct ptd_ends *e, __u64 seed)
{
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = PTD_OBJECT - 8192,
		.local_offset = 4096, .remote_offset = 4096,
	};
	struct ptd_end *a = &e->pair.a;
	__u8 *here = e->here.map + 4096, *there = e->there.map + 4096;
	int ret;

	ptd_fill(here, cmd.length, seed);
	memset(e->there.map, PTD_POISON, PTD_OBJECT);
	ret = ptd_io(&a->ring, a->fd, P2PBUF_RDMA_URING_WRITE, &cmd);
	if (ret != (int)cmd.length) {
		fprintf(stderr, "# write: %d\n", ret);
		return false;
	}
	if (ptd_check(there, cmd.length, seed) != cmd.length ||
	    ptd_check_poison(e->there.map, 4096) != 4096 ||
	    ptd_check_poison(there + cmd.length, 4096) != 4096)
		return false;
	memset(here, 0, cmd.length);
	cmd.flags = P2PBUF_RDMA_FLUSH;
	ret = ptd_io(&a->ring, a->fd, P2PBUF_RDMA_URING_READ, &cmd);
	if (ret != (int)cmd.length)
		fprintf(stderr, "# read: %d\n", ret);
	return ret == (int)cmd.length &&
	       ptd_check(here, cmd.length, seed) == cmd.length;
}

/**
 * struct ptd_mover - a thread that moves both objects to and fro
 * @ends: the objects
 * @moving: it has not ended
 * @error: what went wrong
 */
struct ptd_mover {
	struct ptd_ends *ends;
	atomic_bool moving;
	int error;
	pthread_t thread;
};

static inline void *ptd_mover_run(void *arg)
{
	static const __u32 places[] = {
		P2PBUF_PLACEMENT_SYSTEM, P2PBUF_PLACEMENT_VRAM,
	};
	struct ptd_mover *m = arg;
	struct ptd_ends *e = m->ends;
	int i;

	for (i = 0; i < PTD_MOVES && !m->error; i++) {
		m->error = ptx_move(e->exporter, e->there.handle,
				    places[i % 2], 0);
		if (!m->error)
			m->error = ptx_move(e->exporter, e->here.handle,
					    places[i % 2], 0);
	}
	atomic_store(&m->moving, false);
	return NULL;
}

static inline int ptd_mover_start(struct ptd_mover *m, struct ptd_ends *e)
{
	*m = (struct ptd_mover){ .ends = e };
	atomic_store(&m->moving, true);
	return -pthread_create(&m->thread, NULL, ptd_mover_run, m);
}

/* Requests go on while both ends move, and end in VRAM; no byte is lost. */
#define PTD_MOVED_UNDER_LOAD(e) do {					\
	struct p2pbuf_rdma_info _info;					\
	struct ptd_mover _mover;					\
	__u64 _seed = 1;						\
									\
	ASSERT_EQ(0, ptd_mover_start(&_mover, e));			\
	do {								\
		ASSERT_TRUE(ptd_there_and_back(e, ++_seed));		\
	} while (atomic_load(&_mover.moving));				\
	pthread_join(_mover.thread, NULL);				\
	ASSERT_EQ(0, _mover.error);					\
	ASSERT_TRUE(ptd_there_and_back(e, ++_seed));			\
	EXPECT_EQ(P2PBUF_PLACEMENT_VRAM,				\
		  ptd_object_place((e)->exporter, &(e)->there));	\
	ASSERT_EQ(0, ptd_info((e)->pair.b.fd, &_info));			\
	EXPECT_LT(0, _info.recalls_sent);				\
	EXPECT_EQ(0, _info.revocations);				\
	ASSERT_EQ(0, ptd_info((e)->pair.a.fd, &_info));			\
	EXPECT_EQ(0, _info.errors);					\
} while (0)

#endif /* P2PBUF_TEST_RDMA_VRAM_H */
