// SPDX-License-Identifier: GPL-2.0
/*
 * The system sleeps, and the device may lose its memory meanwhile: VRAM is
 * emptied before and filled again after, or the system does not sleep.
 */
#include <stdlib.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_region.h"
#include "p2pbuf_test_sleep.h"

#define SIZE		(4ULL << 20)
#define VRAM		P2PBUF_PLACEMENT_VRAM
#define SYSTEM		P2PBUF_PLACEMENT_SYSTEM

FIXTURE(suspend)
{
	int fd;
};

FIXTURE_SETUP(suspend)
{
	const char *why;

	self->fd = ptx_open(0);
	if (self->fd < 0)
		SKIP(return, "no render node of the exporter");
	why = ptz_begin();
	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, ptz_settle());
}

FIXTURE_TEARDOWN(suspend)
{
	ptz_end();
	if (self->fd >= 0)
		close(self->fd);
}

TEST_F_TIMEOUT(suspend, vram_is_emptied_and_filled, 120)
{
	struct drm_p2pbuf_gem_create vram, system;
	struct drm_p2pbuf_gem_info before, after;
	void *p, *q;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &vram));
	ASSERT_EQ(0, ptx_create(self->fd, SIZE, SYSTEM, 0, &system));
	p = ptx_mmap(self->fd, SIZE, vram.mmap_offset);
	q = ptx_mmap(self->fd, SIZE, system.mmap_offset);
	ASSERT_NE(NULL, p);
	ASSERT_NE(NULL, q);
	ptx_fill(p, SIZE, 1);
	ptx_fill(q, SIZE, 2);
	ASSERT_EQ(0, ptx_info(self->fd, vram.handle, &before));

	ASSERT_EQ(0, ptz_sleep());

	/* It was out, and it is back. */
	ASSERT_EQ(0, ptx_info(self->fd, vram.handle, &after));
	EXPECT_EQ(VRAM, after.placement);
	EXPECT_EQ(before.generation + 2, after.generation);
	EXPECT_EQ(2, after.evictions);
	ASSERT_EQ(0, ptx_info(self->fd, system.handle, &after));
	EXPECT_EQ(SYSTEM, after.placement);
	EXPECT_EQ(0, after.evictions);
	EXPECT_EQ(SIZE, ptx_check(p, SIZE, 1));
	EXPECT_EQ(SIZE, ptx_check(q, SIZE, 2));
	munmap(p, SIZE);
	munmap(q, SIZE);
}

TEST_F_TIMEOUT(suspend, what_cannot_leave_keeps_the_system_awake, 120)
{
	struct drm_p2pbuf_gem_create only, bo;
	struct drm_p2pbuf_gem_info info;
	void *p, *q;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, P2PBUF_CREATE_VRAM_ONLY,
				&only));
	p = ptx_mmap(self->fd, SIZE, bo.mmap_offset);
	q = ptx_mmap(self->fd, SIZE, only.mmap_offset);
	ASSERT_NE(NULL, p);
	ASSERT_NE(NULL, q);
	ptx_fill(p, SIZE, 3);
	ptx_fill(q, SIZE, 4);

	EXPECT_EQ(-EBUSY, ptz_sleep());
	ASSERT_EQ(0, ptx_info(self->fd, bo.handle, &info));
	EXPECT_EQ(VRAM, info.placement);
	EXPECT_EQ(SIZE, ptx_check(p, SIZE, 3));
	EXPECT_EQ(SIZE, ptx_check(q, SIZE, 4));

	/* Without it, it may sleep. */
	munmap(q, SIZE);
	ASSERT_EQ(0, ptx_close(self->fd, only.handle));
	ASSERT_EQ(0, ptz_settle());
	ASSERT_EQ(0, ptz_sleep());
	EXPECT_EQ(SIZE, ptx_check(p, SIZE, 3));
	munmap(p, SIZE);
}

TEST_HARNESS_MAIN
