// SPDX-License-Identifier: GPL-2.0
/*
 * VRAM and the dmem controller: who moves something there is charged for it,
 * and a cgroup at its limit makes room among its own.
 *
 * Needs a kernel with CONFIG_CGROUP_DMEM, as the debug kernel is.
 */
#include <pthread.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_group.h"
#include "p2pbuf_test_region.h"
#include "p2pbuf_test_until.h"

#define SIZE		(1ULL << 20)
#define LIMIT		(2 * SIZE)
#define VRAM		P2PBUF_PLACEMENT_VRAM
#define SYSTEM		P2PBUF_PLACEMENT_SYSTEM

FIXTURE(group) {
	struct ptr_region region;
	struct drm_p2pbuf_device_info info;
	/* what the controller calls the region */
	char name[32];
	int fd;
	/* somebody outside of the group */
	int other;
	struct ptx_object objects[3];
};

/*
 * The region's value in a file of the controller, 0 where it has none, which is
 * what a group is charged before its first charge. @lines: how often it is named.
 */
static __u64 group_read(struct _test_data_group *self, const char *path,
			unsigned int *lines)
{
	char line[128], format[64];
	__u64 value = 0, seen;
	FILE *file = fopen(path, "re");

	if (lines)
		*lines = 0;
	if (!file)
		return ~0ULL;
	snprintf(format, sizeof(format), "%s %%llu", self->name);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, format, &seen) != 1)
			continue;
		value = seen;
		if (lines)
			++*lines;
	}
	fclose(file);
	return value;
}

#define CHARGED()	group_read(self, PTG_GROUP "/dmem.current", NULL)

static int group_limit(const struct _test_data_group *self, const char *limit)
{
	char text[64];

	snprintf(text, sizeof(text), "%s %s", self->name, limit);
	return ptk_write(PTG_GROUP "/dmem.max", text);
}

FIXTURE_SETUP(group)
{
	self->fd = -1;
	self->other = -1;
	/* Small, and nobody else's. */
	if (ptr_find(1, &self->region))
		SKIP(return, "no second region of the exporter");
	if (ptg_make("dmem"))
		SKIP(return, "this kernel has no dmem controller");
	self->other = ptr_open(&self->region);
	ASSERT_LE(0, self->other);
	ASSERT_EQ(0, ptx_device_info(self->other, &self->info));
	snprintf(self->name, sizeof(self->name), "drm/%s/bar%u",
		 self->region.name, self->info.bar);
	ASSERT_EQ(0, ptg_enter());
	self->fd = ptr_open(&self->region);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, group_limit(self, "2M"));
	ASSERT_EQ(0, CHARGED());
}

FIXTURE_TEARDOWN(group)
{
	if (self->other < 0)
		return;
	if (self->fd >= 0)
		close(self->fd);
	close(self->other);
	EXPECT_EQ(0, ptg_leave());
	EXPECT_EQ(0, ptg_remove());
}

static int object_create(int fd, struct ptx_object *o, __u32 flags, __u64 seed)
{
	return ptx_object_create(fd, SIZE, VRAM, flags, seed, o);
}

/* The first two fill the group. */
static int fill(struct _test_data_group *self, __u32 flags)
{
	int ret = object_create(self->fd, &self->objects[0], flags, 10);

	return ret ? ret : object_create(self->fd, &self->objects[1], flags, 11);
}

TEST_F(group, region_is_listed)
{
	unsigned int lines;

	EXPECT_EQ(self->info.vram_size,
		  group_read(self, PTG_ROOT "/dmem.capacity", &lines));
	EXPECT_EQ(1, lines);
}

TEST_F(group, vram_is_charged)
{
	struct drm_p2pbuf_gem_create system;
	struct ptx_object *o = self->objects;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, SYSTEM, 0, &system));
	EXPECT_EQ(0, CHARGED());
	ASSERT_EQ(0, object_create(self->fd, o, 0, 1));
	EXPECT_EQ(SIZE, CHARGED());
	ASSERT_EQ(0, ptx_move(self->fd, o->bo.handle, SYSTEM, 0));
	EXPECT_EQ(0, CHARGED());
	ASSERT_EQ(0, ptx_move(self->fd, o->bo.handle, VRAM, 0));
	EXPECT_EQ(SIZE, CHARGED());
	EXPECT_EQ(SIZE, ptx_check(o->map, SIZE, 1));
	munmap(o->map, SIZE);
	ASSERT_EQ(0, ptx_close(self->fd, o->bo.handle));
	EXPECT_TRUE(ptk_until(!CHARGED(), 10000));
}

/* It is whoever moves that pays, not whose object it is. */
TEST_F(group, mover_pays)
{
	struct ptx_object *o = self->objects;

	ASSERT_EQ(0, object_create(self->fd, o, 0, 2));
	ASSERT_EQ(0, ptx_move(self->fd, o->bo.handle, SYSTEM, 0));
	ASSERT_EQ(0, ptg_leave());
	ASSERT_EQ(0, ptx_move(self->fd, o->bo.handle, VRAM, 0));
	EXPECT_EQ(0, CHARGED());
	ASSERT_EQ(0, ptx_move(self->fd, o->bo.handle, SYSTEM, 0));
	ASSERT_EQ(0, ptg_enter());
	ASSERT_EQ(0, ptx_move(self->fd, o->bo.handle, VRAM, 0));
	EXPECT_EQ(SIZE, CHARGED());
	EXPECT_EQ(SIZE, ptx_check(o->map, SIZE, 2));
}

/* The oldest of the group makes room, and nobody else. */
TEST_F(group, own_ones_leave)
{
	struct ptx_object *o = self->objects, stranger;

	ASSERT_EQ(0, ptg_leave());
	ASSERT_EQ(0, object_create(self->other, &stranger, 0, 9));
	ASSERT_EQ(0, ptg_enter());
	ASSERT_EQ(0, fill(self, 0));
	EXPECT_EQ(LIMIT, CHARGED());
	ASSERT_EQ(0, object_create(self->fd, &o[2], 0, 12));
	EXPECT_EQ(LIMIT, CHARGED());
	EXPECT_EQ(SYSTEM, ptx_placement(self->fd, o[0].bo.handle));
	EXPECT_EQ(VRAM, ptx_placement(self->fd, o[1].bo.handle));
	EXPECT_EQ(VRAM, ptx_placement(self->fd, o[2].bo.handle));
	EXPECT_EQ(VRAM, ptx_placement(self->other, stranger.bo.handle));
	EXPECT_EQ(SIZE, ptx_check(o[0].map, SIZE, 10));
	EXPECT_EQ(SIZE, ptx_check(o[1].map, SIZE, 11));
	EXPECT_EQ(SIZE, ptx_check(o[2].map, SIZE, 12));
	EXPECT_EQ(SIZE, ptx_check(stranger.map, SIZE, 9));
}

TEST_F(group, more_than_the_limit)
{
	struct drm_p2pbuf_gem_create bo;

	EXPECT_EQ(-ENOSPC, ptx_create(self->fd, LIMIT + SIZE, VRAM, 0, &bo));
	EXPECT_EQ(0, CHARGED());
	EXPECT_EQ(0, fill(self, 0));
	EXPECT_EQ(LIMIT, CHARGED());
}

TEST_F(group, what_cannot_leave_stays)
{
	struct ptx_object *o = self->objects;
	struct drm_p2pbuf_gem_create bo;

	ASSERT_EQ(0, fill(self, P2PBUF_CREATE_VRAM_ONLY));
	EXPECT_EQ(-ENOSPC, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	EXPECT_EQ(LIMIT, CHARGED());
	/* Nor by the limit, which is set all the same. */
	EXPECT_EQ(0, group_limit(self, "0"));
	EXPECT_EQ(0, group_read(self, PTG_GROUP "/dmem.max", NULL));
	EXPECT_EQ(LIMIT, CHARGED());
	EXPECT_EQ(SIZE, ptx_check(o[0].map, SIZE, 10));
	EXPECT_EQ(SIZE, ptx_check(o[1].map, SIZE, 11));
}

TEST_F(group, lower_limit)
{
	struct ptx_object *o = self->objects;

	ASSERT_EQ(0, fill(self, 0));
	ASSERT_EQ(0, group_limit(self, "1M"));
	EXPECT_EQ(SIZE, CHARGED());
	EXPECT_EQ(SYSTEM, ptx_placement(self->fd, o[0].bo.handle));
	EXPECT_EQ(VRAM, ptx_placement(self->fd, o[1].bo.handle));
	ASSERT_EQ(0, group_limit(self, "0"));
	EXPECT_EQ(0, CHARGED());
	EXPECT_EQ(SYSTEM, ptx_placement(self->fd, o[1].bo.handle));
	EXPECT_EQ(-ENOSPC, ptx_move(self->fd, o[0].bo.handle, VRAM, 0));
	EXPECT_EQ(SIZE, ptx_check(o[0].map, SIZE, 10));
	EXPECT_EQ(SIZE, ptx_check(o[1].map, SIZE, 11));
	ASSERT_EQ(0, group_limit(self, "2M"));
	EXPECT_EQ(0, ptx_move(self->fd, o[0].bo.handle, VRAM, 0));
	EXPECT_EQ(SIZE, ptx_check(o[0].map, SIZE, 10));
}

/* The device goes, files and objects stay; its name is free at once. */
TEST_F(group, region_goes_and_comes)
{
	unsigned int lines;

	ASSERT_EQ(0, fill(self, 0));
	ASSERT_EQ(0, ptr_unbind(&self->region));
	group_read(self, PTG_ROOT "/dmem.capacity", &lines);
	EXPECT_EQ(0, lines);
	EXPECT_EQ(-EINVAL, group_limit(self, "1M"));
	ASSERT_EQ(0, ptr_probe(&self->region));
	EXPECT_EQ(self->info.vram_size,
		  group_read(self, PTG_ROOT "/dmem.capacity", &lines));
	EXPECT_EQ(1, lines);
	EXPECT_EQ(0, CHARGED());
	EXPECT_EQ(SIZE, ptx_check(self->objects[0].map, SIZE, 10));
	EXPECT_EQ(SIZE, ptx_check(self->objects[1].map, SIZE, 11));
}

/* ---- limits that change while the region goes ------------------------------------ */

/**
 * struct limiter - a thread that sets the group's limit up and down
 * @group: whose
 * @stop: asked to stop
 * @set: how often the region was there to be limited
 */
struct limiter {
	struct _test_data_group *group;
	int stop;
	unsigned int set;
};

static void *limiter_run(void *arg)
{
	struct limiter *l = arg;

	while (!__atomic_load_n(&l->stop, __ATOMIC_ACQUIRE)) {
		if (!group_limit(l->group, "0"))
			__atomic_fetch_add(&l->set, 1, __ATOMIC_RELAXED);
		group_limit(l->group, "max");
	}
	return NULL;
}

/* One life of the region, with a limit being set at any time of it. */
static int region_lives(struct _test_data_group *self, struct limiter *l)
{
	unsigned int set = __atomic_load_n(&l->set, __ATOMIC_RELAXED), i;
	struct drm_p2pbuf_gem_create bo;
	int fd = ptr_open(&self->region), ret = 0;

	if (fd < 0)
		return fd;
	for (i = 0; i < 20 && !ret; i++) {
		ret = ptx_create(fd, SIZE, VRAM, 0, &bo);
		/* The limit may be 0 just now. */
		if (ret == -ENOSPC)
			ret = 0;
	}
	if (!ret && !ptk_until(__atomic_load_n(&l->set, __ATOMIC_RELAXED) > set,
			       10000))
		ret = -ETIME;
	if (!ret)
		ret = ptr_unbind(&self->region);
	close(fd);
	return ret ? ret : ptr_probe(&self->region);
}

TEST_F_TIMEOUT(group, limits_while_the_region_goes, 100)
{
	struct limiter limiter = { .group = self };
	pthread_t thread;
	unsigned int i;

	ASSERT_EQ(0, pthread_create(&thread, NULL, limiter_run, &limiter));
	for (i = 0; i < 20; i++)
		EXPECT_EQ(0, region_lives(self, &limiter));
	__atomic_store_n(&limiter.stop, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, CHARGED());
}

TEST_HARNESS_MAIN
