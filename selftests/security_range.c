// SPDX-License-Identifier: GPL-2.0
/*
 * Security of offsets and lengths: every combination of numbers at which a sum
 * wraps around or a range ends, judged by arithmetic that cannot overflow; and
 * numbers that change while the kernel reads them. Nothing outside a binding's
 * range is ever touched. Documentation/security.rst names each case.
 */
#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>

#include "p2pbuf_test_rig.h"

#define SIZE	(1ULL << 20)
#define EDGE	(64 * PTN_KIB)
#define MIDDLE	(SIZE - 2 * EDGE)
#define SEED	0x5eed
#define DEV	(32 * PTN_MIB)

/* A binding of the middle of a buffer, with a pattern on both sides of it. */
FIXTURE(range) {
	struct ptn_rig rig;
	int id;
};

FIXTURE_SETUP(range)
{
	struct ptn_rig *rig = &self->rig;

	PTN_RIG_OPEN(rig, .kind = PTN_VRAM, .size = SIZE);
	self->id = ptn_bind_range(rig->node, rig->buffer.dmabuf, rig->disk.fd,
				  EDGE, MIDDLE, 0, &rig->bind);
	ASSERT_LT(0, self->id);
	ptn_fill(rig->buffer.map, SIZE, SEED, 0);
}

FIXTURE_TEARDOWN(range)
{
	ptn_rig_close(&self->rig);
}

static void edges_untouched(struct __test_metadata *_metadata,
			    struct ptn_rig *rig)
{
	char *map = rig->buffer.map;

	EXPECT_EQ(EDGE, ptn_check(map, EDGE, SEED, 0));
	EXPECT_EQ(EDGE, ptn_check(map + SIZE - EDGE, EDGE, SEED, SIZE - EDGE));
}

/* In numbers that cannot overflow. */
static bool fits(__u64 offset, __u64 length, __u64 whole)
{
	return length <= whole && offset <= whole - length;
}

static const __u64 offsets[] = {
	0, 512, 4096, MIDDLE, MIDDLE - 512, MIDDLE + 512, MIDDLE - 4096,
	MIDDLE + 4096, SIZE, SIZE - 4096, SIZE + 4096,
	1ULL << 31, (1ULL << 31) - 4096, (1ULL << 31) + 4096,
	1ULL << 32, (1ULL << 32) - 4096, (1ULL << 32) + MIDDLE - 4096,
	1ULL << 63, (1ULL << 63) - 4096, (1ULL << 63) + 4096,
	-512ULL, -4096ULL, -MIDDLE, -SIZE, -(1ULL << 32),
};

static const __u32 lengths[] = {
	0, 512, 4096, (__u32)MIDDLE, (__u32)MIDDLE + 512, (__u32)SIZE,
	0x7ffffe00, 0x80000000, 0xfffffe00,
};

TEST_F(range, commands)
{
	struct ptn_rig *rig = &self->rig;
	__u64 devs[] = {
		DEV, rig->disk.size, rig->disk.size - 512,
		rig->disk.size + 512, rig->disk.size - MIDDLE,
		1ULL << 32, 1ULL << 63, -512ULL, -MIDDLE, -(1ULL << 32),
	};
	unsigned int i, k, d;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		for (k = 0; k < ARRAY_SIZE(lengths); k++) {
			for (d = 0; d < ARRAY_SIZE(devs); d++) {
				__u32 len = lengths[k];
				bool good = len &&
					fits(offsets[i], len, MIDDLE) &&
					fits(devs[d], len, rig->disk.size);
				int ret = ptn_read(&rig->ring, rig->node,
						   self->id, offsets[i],
						   devs[d], len);

				EXPECT_EQ(good ? (int)len :
					  len ? -ERANGE : -EDOM, ret)
					TH_LOG("offset %llx length %x device %llx",
					       offsets[i], len, devs[d]);
			}
		}
	}
	edges_untouched(_metadata, rig);
}

TEST_F(range, bindings)
{
	struct ptn_rig *rig = &self->rig;
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		for (k = 0; k < ARRAY_SIZE(offsets); k++) {
			__u64 offset = offsets[i] & ~4095ULL;
			__u64 length = offsets[k] & ~4095ULL;
			struct p2pbuf_nvme_bind bind;
			int id = ptn_bind_range(rig->node, rig->buffer.dmabuf,
						rig->disk.fd, offset, length, 0,
						&bind);
			bool good = offset < SIZE && fits(offset, length, SIZE);

			if (!good) {
				EXPECT_EQ(-ERANGE, id)
					TH_LOG("offset %llx length %llx",
					       offset, length);
				continue;
			}
			EXPECT_LT(0, id);
			EXPECT_EQ(length ? length : SIZE - offset, bind.length);
			EXPECT_EQ(0, ptn_unbind(rig->node, id));
		}
	}
}

TEST_F(range, windows)
{
	struct drm_p2pbuf_device_info info;
	struct drm_p2pbuf_gem_create bo;
	int fd = self->rig.buffer.node;
	unsigned int i, k;

	ASSERT_EQ(0, ptx_device_info(fd, &info));
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		for (k = 0; k < ARRAY_SIZE(offsets); k++) {
			__u64 offset = offsets[i] & ~4095ULL;
			__u64 size = offsets[k] & ~4095ULL;
			bool good = fits(offset, size, info.vram_size);
			int ret;

			if (!size)
				continue;
			ret = ptx_create_window(fd, size, offset, &bo);
			EXPECT_EQ(good ? 0 : -ERANGE, ret)
				TH_LOG("offset %llx size %llx", offset, size);
			if (!ret)
				ptx_close(fd, bo.handle);
		}
	}
}

TEST_F(range, objects)
{
	struct drm_p2pbuf_device_info info;
	struct drm_p2pbuf_gem_create bo;
	int fd = self->rig.buffer.node;
	unsigned int i;

	ASSERT_EQ(0, ptx_device_info(fd, &info));
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		__u64 size = offsets[i] & ~4095ULL;

		if (size <= info.vram_size)
			continue;
		EXPECT_EQ(-ENOSPC, ptx_create(fd, size, P2PBUF_PLACEMENT_VRAM,
					      0, &bo));
		EXPECT_EQ(-ENOSPC, ptx_create(fd, size, P2PBUF_PLACEMENT_SYSTEM,
					      0, &bo));
	}
}

/* ---- numbers that change ---------------------------------------------------------- */

struct changer {
	volatile __u64 *word;
	__u64 values[2];
	atomic_int stop;
};

static void *change(void *arg)
{
	struct changer *c = arg;
	unsigned int i;

	for (i = 0; !atomic_load(&c->stop); i++)
		*c->word = c->values[i % 2];
	return NULL;
}

/*
 * The struct says a good range and one outside by turns. What BIND took is
 * what it judged: the reply tells a range that is part of the buffer, and I/O
 * stays in it.
 */
TEST_F(range, ioctl_changes_while_it_is_read)
{
	struct ptn_rig *rig = &self->rig;
	struct p2pbuf_nvme_bind *bind = ptn_memory(4096);
	struct changer c = {
		.word = &bind->length,
		.values = { MIDDLE, -4096ULL },
	};
	unsigned int i, taken = 0;
	pthread_t thread;

	ASSERT_NE(NULL, bind);
	ASSERT_EQ(0, pthread_create(&thread, NULL, change, &c));
	for (i = 0; i < 200; i++) {
		struct p2pbuf_nvme_bind_info info;
		int ret;

		bind->size = sizeof(*bind);
		bind->dmabuf_fd = rig->buffer.dmabuf;
		bind->bdev_fd = rig->disk.fd;
		bind->offset = EDGE;
		bind->id = 0;
		bind->rights = 0;
		ret = ptx_ioctl(rig->node, P2PBUF_NVME_BIND, bind);
		EXPECT_TRUE(!ret || ret == -ERANGE);
		if (ret)
			continue;
		taken++;
		ASSERT_EQ(0, ptn_info(rig->node, bind->id, &info));
		/* user memory may be read half old, half new */
		EXPECT_GE(SIZE - EDGE, info.length);
		EXPECT_LT(0, info.length);
		EXPECT_EQ(0, ptn_unbind(rig->node, bind->id));
	}
	atomic_store(&c.stop, 1);
	pthread_join(thread, NULL);
	TH_LOG("%u of %u were bound", taken, i);
	munmap(bind, 4096);
}

/*
 * A ring whose SQEs are read by a thread of the kernel's, and changed all the
 * time: inside and outside the range by turns.
 */
TEST_F(range, sqe_changes_while_it_is_read)
{
	struct ptn_rig *rig = &self->rig;
	struct io_uring_params p = {
		.flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 50,
	};
	struct io_uring ring;
	struct changer c = { .values = { 0, MIDDLE - 2048 } };
	unsigned int i, done = 0;
	pthread_t thread;

	ASSERT_EQ(0, io_uring_queue_init_params(1, &ring, &p));
	/* there is one SQE, and its addr is at byte 16 */
	c.word = (volatile __u64 *)((char *)ring.sq.sqes + 16);
	ASSERT_EQ(0, pthread_create(&thread, NULL, change, &c));
	for (i = 0; i < 500; i++) {
		int ret = ptn_read(&ring, rig->node, self->id, 0, DEV, 4096);

		EXPECT_TRUE(ret == 4096 || ret == -ERANGE);
		done += ret == 4096;
	}
	atomic_store(&c.stop, 1);
	pthread_join(thread, NULL);
	TH_LOG("%u of %u were done", done, i);
	io_uring_queue_exit(&ring);
	edges_untouched(_metadata, rig);
}

/* ---- what others hold ------------------------------------------------------------- */

/*
 * A page of the disk's page cache that somebody holds (here a pipe) stays
 * what it was for him, and for nobody else: who reads after the write gets
 * what was written.
 */
TEST_F(range, page_cache_held)
{
	struct ptn_rig *rig = &self->rig;
	loff_t at = DEV;
	char page[4096];
	int ends[2];

	ptn_fill(page, sizeof(page), SEED + 1, DEV);
	memcpy(rig->scratch, page, sizeof(page));
	ASSERT_EQ(0, ptn_disk_write(&rig->disk, rig->scratch, 4096, DEV));
	ASSERT_EQ(0, pipe(ends));
	ASSERT_EQ(4096, splice(rig->disk.fd, &at, ends[1], NULL, 4096, 0));
	EXPECT_EQ(4096, ptn_write(&rig->ring, rig->node, self->id, 0, DEV,
				  4096));
	ASSERT_EQ(4096, read(ends[0], page, sizeof(page)));
	EXPECT_EQ(4096, ptn_check(page, 4096, SEED + 1, DEV));
	close(ends[0]);
	close(ends[1]);
	memset(page, 0xa5, sizeof(page));
	ASSERT_EQ(4096, pread(rig->disk.fd, page, sizeof(page), DEV));
	EXPECT_EQ(4096, ptn_check(page, 4096, SEED, EDGE));
}

TEST_HARNESS_MAIN
