// SPDX-License-Identifier: GPL-2.0
/*
 * Failure sweep over the exporter: create, export, map, move out, move in and
 * evict are each played again and again with the first, the second, the third
 * ... thing that can fail failing. A call that fails changed nothing: the
 * object is where it was or where it was to go, its bytes are right, no VRAM is
 * lost, and the next try works.
 *
 * Needs a kernel that injects faults; on others it is skipped.
 */
#include "kselftest_harness.h"
#include "p2pbuf_test_exporter.h"
#include "p2pbuf_test_sweep.h"

#define SIZE		(256ULL << 10)
#define VRAM		P2PBUF_PLACEMENT_VRAM
#define SYSTEM		P2PBUF_PLACEMENT_SYSTEM

/* More points than any call has: the sweep has gone astray. */
#define POINTS_MAX	3000

FIXTURE(sweep) {
	int fd;
	__u64 vram_size;
	__u64 vram_used;
};

static __u64 vram_used(int fd)
{
	struct drm_p2pbuf_device_info info;

	return ptx_device_info(fd, &info) ? ~0ULL : info.vram_used;
}

FIXTURE_SETUP(sweep)
{
	const char *why = pts_impossible();
	struct drm_p2pbuf_device_info info;

	self->fd = -1;
	if (why)
		SKIP(return, "%s", why);
	/* The second one is smaller, and quicker to empty. */
	self->fd = ptx_open(1);
	if (self->fd < 0)
		self->fd = ptx_open(0);
	if (self->fd < 0)
		SKIP(return, "no render node of the exporter");
	ASSERT_EQ(0, ptx_device_info(self->fd, &info));
	self->vram_size = info.vram_size;
	self->vram_used = info.vram_used;
}

FIXTURE_TEARDOWN(sweep)
{
	if (self->fd >= 0)
		close(self->fd);
}

/**
 * struct point - where the sweep is
 * @what: of which call
 * @nth: what fails next, from 1
 * @errors: how often the call said so
 * @more: something did fail, so there may be more
 */
struct point {
	const char *what;
	unsigned int nth;
	unsigned int errors;
	bool more;
};

/* False: that was all. */
static bool next_point(struct __test_metadata *_metadata,
		       struct _test_data_sweep *self, struct point *p)
{
	EXPECT_EQ(self->vram_used, vram_used(self->fd))
		TH_LOG("%s, point %u", p->what, p->nth);
	if (p->nth && !p->more) {
		printf("# %s: %u points, %u of them an error\n", p->what,
		       p->nth - 1, p->errors);
		EXPECT_LT(1, p->nth);
		return false;
	}
	p->nth++;
	ASSERT_GT(POINTS_MAX, p->nth);
	return true;
}

static void judge(struct __test_metadata *_metadata, struct point *p, int ret)
{
	p->more = pts_disarm();
	p->errors += ret < 0;
	if (ret > 0)
		ret = 0;
	EXPECT_TRUE(p->more ? pts_expected(ret) : !ret)
		TH_LOG("%s, point %u: %d", p->what, p->nth, ret);
}

/* @call with the nth thing failing; ret is what it returned. */
#define HIT(p, call) do {						\
	pts_arm((p).nth);						\
	ret = (call);							\
	judge(_metadata, &(p), ret);					\
} while (0)

/**
 * struct object - one with a pattern in it
 * @bo: what create told
 * @map: the CPU's view
 */
struct object {
	struct drm_p2pbuf_gem_create bo;
	void *map;
};

static int object_create(int fd, struct object *o, __u32 placement)
{
	int ret = ptx_create(fd, SIZE, placement, 0, &o->bo);

	if (ret)
		return ret;
	o->map = ptx_mmap(fd, SIZE, o->bo.mmap_offset);
	if (!o->map)
		return -errno;
	ptx_fill(o->map, SIZE, 7);
	return 0;
}

static void object_close(int fd, struct object *o)
{
	munmap(o->map, SIZE);
	ptx_close(fd, o->bo.handle);
}

TEST_F_TIMEOUT(sweep, create, 100)
{
	static const __u32 placements[] = { VRAM, SYSTEM };
	struct drm_p2pbuf_gem_create bo;
	unsigned int i;
	void *map;
	int ret;

	for (i = 0; i < 2; i++) {
		struct point p = { .what = i ? "create in host memory" :
						"create in VRAM" };

		while (next_point(_metadata, self, &p)) {
			HIT(p, ptx_create(self->fd, SIZE, placements[i], 0,
					  &bo));
			if (ret)
				ASSERT_EQ(0, ptx_create(self->fd, SIZE,
							placements[i], 0, &bo));
			map = ptx_mmap(self->fd, SIZE, bo.mmap_offset);
			ASSERT_NE(NULL, map);
			EXPECT_EQ(SIZE, ptx_check_value(map, SIZE, 0));
			ptx_fill(map, SIZE, 3);
			munmap(map, SIZE);
			EXPECT_EQ(0, ptx_close(self->fd, bo.handle));
		}
	}
}

TEST_F_TIMEOUT(sweep, export, 100)
{
	struct point p = { .what = "export" };
	struct object o;
	__u32 handle;
	void *map;
	int ret;

	while (next_point(_metadata, self, &p)) {
		ASSERT_EQ(0, object_create(self->fd, &o, VRAM));
		HIT(p, ptx_export(self->fd, o.bo.handle, true));
		if (ret < 0)
			ret = ptx_export(self->fd, o.bo.handle, true);
		ASSERT_LE(0, ret);
		map = ptx_mmap(ret, SIZE, 0);
		ASSERT_NE(NULL, map);
		EXPECT_EQ(SIZE, ptx_check(map, SIZE, 7));
		munmap(map, SIZE);
		EXPECT_EQ(0, ptx_import(self->fd, ret, &handle));
		EXPECT_EQ(o.bo.handle, handle);
		close(ret);
		object_close(self->fd, &o);
	}
}

TEST_F_TIMEOUT(sweep, move, 200)
{
	static const struct { __u32 from, to; const char *what; } moves[] = {
		{ VRAM, SYSTEM, "move out" },
		{ SYSTEM, VRAM, "move in" },
	};
	struct drm_p2pbuf_gem_info info;
	struct object o;
	unsigned int i;
	int ret;

	for (i = 0; i < 2; i++) {
		struct point p = { .what = moves[i].what };

		while (next_point(_metadata, self, &p)) {
			ASSERT_EQ(0, object_create(self->fd, &o,
						   moves[i].from));
			HIT(p, ptx_move(self->fd, o.bo.handle, moves[i].to,
					0));
			EXPECT_EQ(SIZE, ptx_check(o.map, SIZE, 7));
			if (ret)
				EXPECT_EQ(0, ptx_move(self->fd, o.bo.handle,
						      moves[i].to, 0));
			EXPECT_EQ(0, ptx_info(self->fd, o.bo.handle, &info));
			EXPECT_EQ(moves[i].to, info.placement);
			EXPECT_EQ(SIZE, ptx_check(o.map, SIZE, 7));
			object_close(self->fd, &o);
		}
	}
}

/* The whole of VRAM is asked for: what is in it leaves, or nobody gets it. */
TEST_F_TIMEOUT(sweep, evict, 400)
{
	struct point p = { .what = "evict" };
	struct drm_p2pbuf_gem_create all;
	struct drm_p2pbuf_gem_info info;
	struct object o;
	int ret;

	if (self->vram_used)
		SKIP(return, "somebody else uses VRAM");
	while (next_point(_metadata, self, &p)) {
		ASSERT_EQ(0, object_create(self->fd, &o, VRAM));
		HIT(p, ptx_create(self->fd, self->vram_size, VRAM, 0, &all));
		EXPECT_EQ(SIZE, ptx_check(o.map, SIZE, 7));
		if (ret)
			ASSERT_EQ(0, ptx_create(self->fd, self->vram_size,
						VRAM, 0, &all));
		EXPECT_EQ(0, ptx_info(self->fd, o.bo.handle, &info));
		EXPECT_EQ(SYSTEM, info.placement);
		EXPECT_EQ(SIZE, ptx_check(o.map, SIZE, 7));
		EXPECT_EQ(0, ptx_close(self->fd, all.handle));
		object_close(self->fd, &o);
	}
}

TEST_HARNESS_MAIN
