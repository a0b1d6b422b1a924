// SPDX-License-Identifier: GPL-2.0
/*
 * RDMA from VRAM to VRAM, where the RDMA device copies with the CPU.
 *
 * Two objects of a paged region are the ends of a connection. They stay in
 * VRAM: no import here allows host memory. Then both move to host memory and
 * back, again and again, while requests go on.
 */
#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>

#include "p2pbuf_test_paged.h"
#include "p2pbuf_test_rdma.h"

#define BUFFER		(3 * PTD_MIB)
#define MOVES		12

/**
 * struct object - an object of the region
 * @handle: its handle
 * @dmabuf: its dma-buf
 * @map: the CPU's mapping
 */
struct object {
	__u32 handle;
	int dmabuf;
	__u8 *map;
};

FIXTURE(vram) {
	struct ptp_rig rig;
	struct ptd_pair pair;
	struct object here;
	struct object there;
};

static int object_make(int fd, struct object *o)
{
	struct drm_p2pbuf_gem_create create;
	int ret;

	ret = ptx_create(fd, BUFFER, P2PBUF_PLACEMENT_VRAM, 0, &create);
	if (ret)
		return ret;
	o->handle = create.handle;
	o->dmabuf = ptx_export(fd, o->handle, true);
	o->map = ptx_mmap(fd, BUFFER, create.mmap_offset);
	return o->dmabuf < 0 || !o->map ? -EIO : 0;
}

/* Without P2PBUF_RDMA_IMPORT_ALLOW_SYSTEM. */
static int import_strictly(int fd, const struct object *o,
			   struct p2pbuf_rdma_import *arg)
{
	*arg = (struct p2pbuf_rdma_import){
		.size = sizeof(*arg), .dmabuf_fd = o->dmabuf, .id = 1,
	};
	return ptd_ioctl(fd, P2PBUF_RDMA_IMPORT, arg);
}

FIXTURE_SETUP(vram)
{
	struct p2pbuf_rdma_import arg;
	int ret;

	memset(self, 0, sizeof(*self));
	self->rig.fd = -1;
	if (access(PTD_NODE, F_OK))
		SKIP(return, "no " PTD_NODE);
	ret = ptp_open(&self->rig);
	if (ret == -ENODEV)
		SKIP(return, "no exporter");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, object_make(self->rig.fd, &self->here));
	ASSERT_EQ(0, object_make(self->rig.fd, &self->there));
	self->pair.limits.recall_ms = 20000;
	self->pair.limits.wait_ms = 60000;
	ASSERT_EQ(0, ptd_pair_open(&self->pair));
	ASSERT_EQ(0, import_strictly(self->pair.a.fd, &self->here, &arg));
	EXPECT_EQ(P2PBUF_PATH_BRIDGE, arg.path.path);
	EXPECT_EQ(self->rig.info.pci, arg.path.exporter);
	ASSERT_EQ(0, import_strictly(self->pair.b.fd, &self->there, &arg));
	ASSERT_EQ(0, ptd_grant(self->pair.b.fd, 1, PTD_BOTH));
}

FIXTURE_TEARDOWN(vram)
{
	if (self->rig.fd < 0)
		return;
	ptd_pair_close(&self->pair);
	munmap(self->here.map, BUFFER);
	munmap(self->there.map, BUFFER);
	close(self->here.dmabuf);
	close(self->there.dmabuf);
	ptp_close(&self->rig);
}

#define VRAM_DATA FIXTURE_DATA(vram)

/* All of it there, and back to zeroes. */
static bool there_and_back(VRAM_DATA *self, __u64 seed)
{
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = BUFFER - 8192,
		.local_offset = 4096, .remote_offset = 4096,
	};
	struct ptd_end *a = &self->pair.a;
	__u8 *here = self->here.map + 4096, *there = self->there.map + 4096;
	int ret;

	ptd_fill(here, cmd.length, seed);
	memset(self->there.map, PTD_POISON, BUFFER);
	ret = ptd_io(&a->ring, a->fd, P2PBUF_RDMA_URING_WRITE, &cmd);
	if (ret != (int)cmd.length) {
		fprintf(stderr, "# write: %d\n", ret);
		return false;
	}
	if (ptd_check(there, cmd.length, seed) != cmd.length ||
	    ptd_check_poison(self->there.map, 4096) != 4096 ||
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

TEST_F_TIMEOUT(vram, stays_there, 120)
{
	ASSERT_TRUE(there_and_back(self, 1));
	EXPECT_EQ(P2PBUF_PLACEMENT_VRAM,
		  ptp_placement(self->rig.fd, self->here.handle));
	EXPECT_EQ(P2PBUF_PLACEMENT_VRAM,
		  ptp_placement(self->rig.fd, self->there.handle));
}

/**
 * struct mover - moves both objects to and fro
 * @self: the fixture
 * @error: what went wrong
 */
struct mover {
	VRAM_DATA *self;
	int error;
};

static atomic_bool moving;

static void *mover_run(void *arg)
{
	static const __u32 places[] = {
		P2PBUF_PLACEMENT_SYSTEM, P2PBUF_PLACEMENT_VRAM,
	};
	struct mover *m = arg;
	int i;

	for (i = 0; i < MOVES && !m->error; i++) {
		m->error = ptx_move(m->self->rig.fd, m->self->there.handle,
				    places[i % 2], 0);
		if (!m->error)
			m->error = ptx_move(m->self->rig.fd,
					    m->self->here.handle,
					    places[i % 2], 0);
	}
	atomic_store(&moving, false);
	return NULL;
}

TEST_F_TIMEOUT(vram, moves, 240)
{
	struct mover m = { .self = self };
	struct p2pbuf_rdma_info info;
	pthread_t thread;
	__u64 seed = 1;

	atomic_store(&moving, true);
	ASSERT_EQ(0, pthread_create(&thread, NULL, mover_run, &m));
	do {
		ASSERT_TRUE(there_and_back(self, ++seed));
	} while (atomic_load(&moving));
	pthread_join(thread, NULL);
	ASSERT_EQ(0, m.error);
	ASSERT_TRUE(there_and_back(self, ++seed));
	EXPECT_EQ(P2PBUF_PLACEMENT_VRAM,
		  ptp_placement(self->rig.fd, self->there.handle));
	ASSERT_EQ(0, ptd_info(self->pair.b.fd, &info));
	EXPECT_LT(0, info.recalls_sent);
	EXPECT_EQ(0, info.revocations);
	ASSERT_EQ(0, ptd_info(self->pair.a.fd, &info));
	EXPECT_EQ(0, info.errors);
}

/* The region is unbound: VRAM goes, what it held goes on in host memory. */
TEST_F_TIMEOUT(vram, unbound, 120)
{
	ASSERT_TRUE(there_and_back(self, 1));
	ASSERT_EQ(0, ptr_unbind(&self->rig.region));
	ASSERT_TRUE(there_and_back(self, 2));
	ASSERT_EQ(0, ptr_probe(&self->rig.region));
}

int main(int argc, char **argv)
{
	return ptd_main(argc, argv);
}
