// SPDX-License-Identifier: GPL-2.0
/*
 * Security of offsets and lengths: every combination of numbers at which a sum
 * wraps around or a range ends, judged by arithmetic that cannot overflow; and
 * numbers that change while the kernel reads them. Nothing outside a binding's
 * range is ever touched. Documentation/security.rst names each case.
 */
#include <liburing.h>
#include <stddef.h>

#include "p2pbuf_test_rig.h"
#include "p2pbuf_test_changer.h"

#define SIZE	(1ULL << 20)
#define EDGE	(64 * PTN_KIB)
#define MIDDLE	(SIZE - 2 * EDGE)
#define SEED	0x5eed
#define DISK_SEED	0xd15c
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

/* What a binding of the middle reads, from its first byte to its last. */
static void middle_is_the_range(struct __test_metadata *_metadata,
				struct ptn_rig *rig, __u32 id)
{
	char *middle = (char *)rig->buffer.map + EDGE;

	ptn_poison(middle, MIDDLE);
	EXPECT_EQ((int)MIDDLE, ptn_read(&rig->ring, rig->node, id, 0, DEV,
					MIDDLE));
	EXPECT_EQ(MIDDLE, ptn_check(middle, MIDDLE, DISK_SEED, DEV));
	EXPECT_EQ(-ERANGE, ptn_read(&rig->ring, rig->node, id, MIDDLE, DEV,
				    512));
	EXPECT_EQ(-ERANGE, ptn_read(&rig->ring, rig->node, id, -512ULL, DEV,
				    512));
	edges_untouched(_metadata, rig);
}

static void bind_what_changes(struct __test_metadata *_metadata,
			      struct ptn_rig *rig, struct pt_changer *c)
{
	struct p2pbuf_nvme_bind *bind = ptn_memory(4096);
	struct p2pbuf_nvme_bind_info info;
	int ret;

	ASSERT_NE(NULL, bind);
	ASSERT_EQ(0, pt_changer_start(c, bind));
	while (pt_changer_goes_on(c, 40, 500)) {
		*bind = (struct p2pbuf_nvme_bind){
			.size = sizeof(*bind),
			.dmabuf_fd = rig->buffer.dmabuf,
			.bdev_fd = rig->disk.fd,
			.offset = EDGE,
			.length = MIDDLE,
		};
		pt_changer_meet(c);
		ret = ptx_ioctl(rig->node, P2PBUF_NVME_BIND, bind);
		EXPECT_TRUE(!ret || ret == c->error)
			TH_LOG("%s: %d", c->name, ret);
		if (ret) {
			c->bad++;
			continue;
		}
		ASSERT_EQ(0, ptn_info(rig->node, bind->id, &info));
		EXPECT_EQ(EDGE, info.offset);
		EXPECT_EQ(MIDDLE, info.length);
		EXPECT_EQ(0, info.flags);
		if (c->good++ < 10)
			middle_is_the_range(_metadata, rig, bind->id);
		EXPECT_EQ(0, ptn_unbind(rig->node, bind->id));
	}
	pt_changer_stop(c);
	munmap(bind, 4096);
}

/* What BIND takes is what it judged: the reply tells it, and I/O stays in it. */
TEST_F_TIMEOUT(range, ioctl_changes_while_it_is_read, 60)
{
	struct ptn_rig *rig = &self->rig;
	const __u64 wrong = 1ULL << 63;
	const __u32 high = 1U << 31, fd = 1U << 30;
#define FIELD(_field, _good, _bad, _error) {				\
		.name = #_field,					\
		.offset = offsetof(struct p2pbuf_nvme_bind, _field),	\
		.bytes = sizeof(((struct p2pbuf_nvme_bind *)0)->_field), \
		.values = { _good, _bad },				\
		.error = _error,					\
	}
	const __u32 size = sizeof(struct p2pbuf_nvme_bind);
	const __u32 dmabuf = rig->buffer.dmabuf, disk = rig->disk.fd;
	struct pt_changer fields[] = {
		FIELD(size, size, size | high, -E2BIG),
		FIELD(flags, 0, high, -EINVAL),
		FIELD(dmabuf_fd, dmabuf, dmabuf | fd, -EBADF),
		FIELD(bdev_fd, disk, disk | fd, -EBADF),
		FIELD(offset, EDGE, EDGE | wrong, -ERANGE),
		FIELD(length, MIDDLE, MIDDLE | wrong, -ERANGE),
	};
#undef FIELD
	const char *missed;
	unsigned int i;

	ASSERT_EQ(0, ptn_disk_fill(&rig->disk, DEV, MIDDLE, DISK_SEED,
				   rig->scratch, PTN_SCRATCH));
	for (i = 0; i < ARRAY_SIZE(fields); i++)
		bind_what_changes(_metadata, rig, &fields[i]);
	missed = pt_changer_missed(_metadata, fields, ARRAY_SIZE(fields));
	if (missed)
		SKIP(return, "%s did not change at the right moment", missed);
}

static void read_what_changes(struct __test_metadata *_metadata,
			      struct ptn_rig *rig, struct io_uring *ring,
			      int id, struct pt_changer *c)
{
	char *middle = (char *)rig->buffer.map + EDGE, *place;
	int ret;

	ptn_poison(middle, MIDDLE);
	place = middle + c->at;
	/* there is one SQE */
	ASSERT_EQ(0, pt_changer_start(c, ring->sq.sqes));
	while (pt_changer_goes_on(c, 100, 2000)) {
		ptn_poison(place, PTN_PAGE);
		ret = ptn_read(ring, rig->node, id, c->at, DEV, PTN_PAGE);
		EXPECT_TRUE(ret == (int)PTN_PAGE || ret == c->error)
			TH_LOG("%s: %d", c->name, ret);
		EXPECT_EQ(PTN_PAGE, ret > 0 ?
			  ptn_check(place, PTN_PAGE, DISK_SEED, DEV) :
			  ptn_check_poison(place, PTN_PAGE));
		c->good += ret > 0;
		c->bad += ret <= 0;
	}
	pt_changer_stop(c);
	EXPECT_EQ(c->at, ptn_check_poison(middle, c->at));
	EXPECT_EQ(MIDDLE - PTN_PAGE - c->at,
		  ptn_check_poison(place + PTN_PAGE,
				   MIDDLE - PTN_PAGE - c->at));
	edges_untouched(_metadata, rig);
}

/*
 * A ring whose SQEs are read by a thread of the kernel's, and changed all the
 * time. Each command reads a page to where it is told to, or nothing.
 */
TEST_F_TIMEOUT(range, sqe_changes_while_it_is_read, 60)
{
	struct ptn_rig *rig = &self->rig;
	struct io_uring_params p = {
		.flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 50,
	};
	const __u64 last = MIDDLE - PTN_PAGE;
	const char *missed;
	struct io_uring ring;
	unsigned int i;
	int other;

	/* Shorter, and elsewhere: not to be taken half for the one, half so. */
	other = ptn_bind_range(rig->node, rig->buffer.dmabuf, rig->disk.fd, 0,
			       PTN_PAGE, 0, NULL);
	ASSERT_LT(0, other);
	ASSERT_GT(256, self->id | other);
#define FIELD(_name, _at, _bytes, _good, _bad, _error, _addr) {		\
		.name = _name, .offset = _at, .bytes = _bytes,		\
		.values = { _good, _bad }, .error = _error, .at = _addr, \
	}
#define CMD(_field) (offsetof(struct io_uring_sqe, cmd) +		\
		     offsetof(struct p2pbuf_nvme_cmd, _field))
	struct pt_changer fields[] = {
		FIELD("addr", offsetof(struct io_uring_sqe, addr), 8,
		      0, MIDDLE, -ERANGE, 0),
		FIELD("len", offsetof(struct io_uring_sqe, len), 4,
		      PTN_PAGE, PTN_PAGE | MIDDLE, -ERANGE, 0),
		FIELD("dev_offset", CMD(dev_offset), 8,
		      DEV, DEV | 1ULL << 40, -ERANGE, 0),
		FIELD("id", CMD(id), 4, self->id, other, -ERANGE, last),
		FIELD("flags", CMD(flags), 4, 0, 1U << 31, -EINVAL, 0),
	};
#undef CMD
#undef FIELD
	ASSERT_EQ(0, ptn_disk_fill(&rig->disk, DEV, PTN_PAGE, DISK_SEED,
				   rig->scratch, PTN_SCRATCH));
	ASSERT_EQ(0, io_uring_queue_init_params(1, &ring, &p));
	for (i = 0; i < ARRAY_SIZE(fields); i++)
		read_what_changes(_metadata, rig, &ring, self->id, &fields[i]);
	io_uring_queue_exit(&ring);
	missed = pt_changer_missed(_metadata, fields, ARRAY_SIZE(fields));
	if (missed)
		SKIP(return, "%s did not change at the right moment", missed);
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
