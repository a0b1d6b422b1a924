// SPDX-License-Identifier: GPL-2.0
/*
 * The device goes while everything is in use. What has a place in system
 * memory keeps its bytes, what has not is gone and says so, and nobody can
 * reach the BAR any more. Bound again, it works again.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/dma-buf.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_edu.h"
#include "p2pbuf_test_region.h"
#include "p2pbuf_test_run.h"
#include "p2pbuf_test_until.h"

#define MIB		(1ULL << 20)
#define SIZE		(4 * MIB)
#define LEN		P2PBUF_EDU_DMA_MAX
#define VRAM		P2PBUF_PLACEMENT_VRAM
#define SYSTEM		P2PBUF_PLACEMENT_SYSTEM
#define EXAMPLE		"p2pbuf_region_example"
#define MODULE		"p2pbuf_exporter"
#define PATIENCE_MS	20000

FIXTURE(unplug)
{
	struct ptr_region region;
	int fd;
	int edu;
	bool near;
	bool unplugged;
};

FIXTURE_SETUP(unplug)
{
	struct drm_p2pbuf_gem_create bo;
	__u32 p2p = 0;
	int dmabuf, id;

	self->fd = -1;
	self->edu = -1;
	if (ptr_find(0, &self->region))
		SKIP(return, "no render node of the exporter");
	self->fd = ptr_open(&self->region);
	ASSERT_LE(0, self->fd);

	self->edu = pte_open();
	if (self->edu < 0)
		return;
	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	dmabuf = ptx_export(self->fd, bo.handle, true);
	ASSERT_LE(0, dmabuf);
	id = pte_attach(self->edu, dmabuf, P2PBUF_EDU_GOOD, &p2p);
	ASSERT_LE(0, id);
	ASSERT_EQ(0, pte_detach(self->edu, id));
	ASSERT_EQ(0, ptx_close(self->fd, bo.handle));
	close(dmabuf);
	self->near = p2p;
}

FIXTURE_TEARDOWN(unplug)
{
	if (self->unplugged)
		ptr_probe(&self->region);
	if (self->edu >= 0)
		close(self->edu);
	if (self->fd >= 0)
		close(self->fd);
}

static int unplug(struct _test_data_unplug *self)
{
	int ret = ptr_unbind(&self->region);

	self->unplugged = !ret;
	return ret;
}

/* All of @region can be had, and there is nothing in it. */
static void check_empty(struct __test_metadata *_metadata,
			const struct ptr_region *region)
{
	struct drm_p2pbuf_device_info info;
	struct drm_p2pbuf_gem_create bo;
	int fd = ptr_open(region);
	void *p;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ptx_device_info(fd, &info));
	EXPECT_EQ(0, info.vram_used);
	ASSERT_EQ(0, ptx_create(fd, info.vram_size, VRAM, 0, &bo));
	p = ptx_mmap(fd, info.vram_size, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	EXPECT_EQ(info.vram_size, ptx_check_value(p, info.vram_size, 0));
	munmap(p, info.vram_size);
	close(fd);
}

/* Bound again there is a new region with nothing in it. */
static void check_replug(struct __test_metadata *_metadata,
			 struct _test_data_unplug *self)
{
	ASSERT_EQ(0, ptr_probe(&self->region));
	self->unplugged = false;
	check_empty(_metadata, &self->region);
}

TEST_F(unplug, bytes_survive_in_system_memory)
{
	struct drm_p2pbuf_gem_create vram, system;
	struct dma_buf_sync sync = {
		.flags = DMA_BUF_SYNC_RW | DMA_BUF_SYNC_START,
	};
	void *p, *q, *untouched;
	int dmabuf;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &vram));
	ASSERT_EQ(0, ptx_create(self->fd, SIZE, SYSTEM, 0, &system));
	p = ptx_mmap(self->fd, SIZE, vram.mmap_offset);
	q = ptx_mmap(self->fd, SIZE, system.mmap_offset);
	dmabuf = ptx_export(self->fd, vram.handle, true);
	ASSERT_LE(0, dmabuf);
	untouched = ptx_mmap(dmabuf, SIZE, 0);
	ASSERT_NE(NULL, p);
	ASSERT_NE(NULL, q);
	ASSERT_NE(NULL, untouched);
	ptx_fill(p, SIZE, 1);
	ptx_fill(q, SIZE, 2);

	ASSERT_EQ(0, unplug(self));
	EXPECT_EQ(SIZE, ptx_check(p, SIZE, 1));
	EXPECT_EQ(SIZE, ptx_check(untouched, SIZE, 1));
	EXPECT_EQ(SIZE, ptx_check(q, SIZE, 2));
	/* Writable, too, and shared. */
	ptx_fill(p, SIZE, 3);
	EXPECT_EQ(SIZE, ptx_check(untouched, SIZE, 3));
	EXPECT_EQ(0, ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &sync));
	munmap(untouched, SIZE);
	/* A dma-buf can even be mapped anew. */
	untouched = ptx_mmap(dmabuf, SIZE, 0);
	ASSERT_NE(NULL, untouched);
	EXPECT_EQ(SIZE, ptx_check(untouched, SIZE, 3));

	check_replug(_metadata, self);
	/* The old objects are no part of the new region. */
	EXPECT_EQ(SIZE, ptx_check(p, SIZE, 3));
	munmap(untouched, SIZE);
	munmap(p, SIZE);
	munmap(q, SIZE);
	close(dmabuf);
}

TEST_F(unplug, node_says_enodev)
{
	struct drm_p2pbuf_device_info info;
	struct drm_p2pbuf_gem_create bo, other;
	struct drm_p2pbuf_gem_info object;
	__u32 handle;
	int dmabuf;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	dmabuf = ptx_export(self->fd, bo.handle, true);
	ASSERT_LE(0, dmabuf);
	ASSERT_EQ(0, unplug(self));

	EXPECT_EQ(-ENODEV, ptx_device_info(self->fd, &info));
	EXPECT_EQ(-ENODEV, ptx_create(self->fd, SIZE, VRAM, 0, &other));
	EXPECT_EQ(-ENODEV, ptx_create(self->fd, SIZE, SYSTEM, 0, &other));
	EXPECT_EQ(-ENODEV, ptx_create_window(self->fd, SIZE, 0, &other));
	EXPECT_EQ(-ENODEV, ptx_move(self->fd, bo.handle, VRAM, 0));
	EXPECT_EQ(-ENODEV, ptx_info(self->fd, bo.handle, &object));
	EXPECT_EQ(-ENODEV, ptx_export(self->fd, bo.handle, true));
	EXPECT_EQ(-ENODEV, ptx_import(self->fd, dmabuf, &handle));
	EXPECT_EQ(NULL, ptx_mmap(self->fd, SIZE, bo.mmap_offset));
	EXPECT_EQ(ENODEV, errno);
	/* Even what is malformed. */
	EXPECT_EQ(-ENODEV, ptx_create(self->fd, 1, 99, 99, &other));
	close(dmabuf);
}

TEST_F(unplug, what_cannot_move_is_gone)
{
	struct drm_p2pbuf_gem_create bo[2];
	struct dma_buf_sync sync = {
		.flags = DMA_BUF_SYNC_READ | DMA_BUF_SYNC_START,
	};
	int dmabuf[2], i;
	char *p[2];

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, P2PBUF_CREATE_VRAM_ONLY,
				&bo[0]));
	ASSERT_EQ(0, ptx_create_window(self->fd, SIZE, 0, &bo[1]));
	for (i = 0; i < 2; i++) {
		p[i] = ptx_mmap(self->fd, SIZE, bo[i].mmap_offset);
		ASSERT_NE(NULL, p[i]);
		dmabuf[i] = ptx_export(self->fd, bo[i].handle, true);
		ASSERT_LE(0, dmabuf[i]);
		EXPECT_FALSE(ptr_is_gone(p[i]));
	}

	ASSERT_EQ(0, unplug(self));
	for (i = 0; i < 2; i++) {
		EXPECT_TRUE(ptr_is_gone(p[i]));
		EXPECT_TRUE(ptr_is_gone(p[i] + SIZE - 1));
		munmap(p[i], SIZE);
		p[i] = ptx_mmap(dmabuf[i], SIZE, 0);
		if (p[i]) {
			EXPECT_TRUE(ptr_is_gone(p[i]));
			munmap(p[i], SIZE);
		}
		EXPECT_EQ(-1, ioctl(dmabuf[i], DMA_BUF_IOCTL_SYNC, &sync));
		EXPECT_EQ(ENODEV, errno);
		if (self->edu >= 0)
			EXPECT_EQ(-ENODEV, pte_attach(self->edu, dmabuf[i],
						      P2PBUF_EDU_GOOD, NULL));
		close(dmabuf[i]);
	}
	check_replug(_metadata, self);
}

TEST_F(unplug, importers_follow)
{
	struct drm_p2pbuf_gem_create bo;
	struct p2pbuf_edu_stat stat;
	__u64 bytes[LEN / 8];
	int dmabuf, id, late;
	char *p;

	if (self->edu < 0)
		SKIP(return, "no edu device");

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	p = ptx_mmap(self->fd, SIZE, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	ptx_fill(p, SIZE, 5);
	dmabuf = ptx_export(self->fd, bo.handle, true);
	ASSERT_LE(0, dmabuf);
	id = pte_attach(self->edu, dmabuf, P2PBUF_EDU_GOOD, NULL);
	ASSERT_LE(0, id);
	ASSERT_EQ(0, pte_map(self->edu, id, NULL));

	ASSERT_EQ(0, unplug(self));
	if (self->near) {
		ASSERT_EQ(0, pte_stat(self->edu, id, &stat));
		EXPECT_EQ(1, stat.invalidations);
		EXPECT_EQ(0, stat.mapped);
		EXPECT_EQ(-ENXIO, pte_dma_read(self->edu, id, 0, bytes, LEN));
		/* It maps the system memory that the bytes are in now. */
		ASSERT_EQ(0, pte_map(self->edu, id, NULL));
	}
	ASSERT_EQ(0, pte_dma_read(self->edu, id, MIB, bytes, LEN));
	EXPECT_EQ(0, memcmp(bytes, p + MIB, LEN));
	EXPECT_EQ(ptx_word(5, MIB / 8), bytes[0]);

	/* So does one that comes only now. */
	late = pte_attach(self->edu, dmabuf, P2PBUF_EDU_GOOD, NULL);
	ASSERT_LE(0, late);
	ASSERT_EQ(0, pte_map(self->edu, late, NULL));
	ptx_fill(bytes, LEN, 6);
	ASSERT_EQ(0, pte_dma_write(self->edu, late, 2 * MIB, bytes, LEN));
	EXPECT_EQ(0, memcmp(bytes, p + 2 * MIB, LEN));

	check_replug(_metadata, self);
	munmap(p, SIZE);
	close(dmabuf);
}

/* A pin keeps an object from moving, but not a device from going. */
TEST_F(unplug, overrules_pins_in_vram)
{
	struct drm_p2pbuf_gem_create bo;
	struct p2pbuf_edu_stat stat;
	__u64 bytes[LEN / 8];
	int dmabuf, id;
	void *p;

	if (!self->near)
		SKIP(return, "no device that can reach the BAR");

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	p = ptx_mmap(self->fd, SIZE, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	ptx_fill(p, SIZE, 7);
	dmabuf = ptx_export(self->fd, bo.handle, true);
	ASSERT_LE(0, dmabuf);
	id = pte_attach(self->edu, dmabuf, P2PBUF_EDU_GOOD, NULL);
	ASSERT_LE(0, id);
	ASSERT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_PIN, id));
	ASSERT_EQ(0, pte_map(self->edu, id, NULL));

	ASSERT_EQ(0, unplug(self));
	ASSERT_EQ(0, pte_stat(self->edu, id, &stat));
	EXPECT_EQ(1, stat.invalidations);
	EXPECT_EQ(SIZE, ptx_check(p, SIZE, 7));
	ASSERT_EQ(0, pte_map(self->edu, id, NULL));
	ASSERT_EQ(0, pte_dma_read(self->edu, id, 0, bytes, LEN));
	EXPECT_EQ(0, memcmp(bytes, p, LEN));
	ASSERT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_UNPIN, id));
	check_replug(_metadata, self);
	munmap(p, SIZE);
	close(dmabuf);
}

/* A far, pinning importer has system memory: the unplug is nothing to it. */
TEST_F(unplug, static_importer_notices_nothing)
{
	struct drm_p2pbuf_gem_create bo;
	__u64 bytes[LEN / 8];
	int dmabuf, id;
	void *p;

	if (self->edu < 0)
		SKIP(return, "no edu device");

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	p = ptx_mmap(self->fd, SIZE, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	ptx_fill(p, SIZE, 8);
	dmabuf = ptx_export(self->fd, bo.handle, true);
	ASSERT_LE(0, dmabuf);
	id = pte_attach(self->edu, dmabuf, 0, NULL);
	ASSERT_LE(0, id);
	ASSERT_EQ(0, pte_map(self->edu, id, NULL));

	ASSERT_EQ(0, unplug(self));
	ASSERT_EQ(0, pte_dma_read(self->edu, id, MIB, bytes, LEN));
	EXPECT_EQ(0, memcmp(bytes, (char *)p + MIB, LEN));
	EXPECT_EQ(ptx_word(8, MIB / 8), bytes[0]);
	ASSERT_EQ(0, pte_detach(self->edu, id));
	munmap(p, SIZE);
	close(dmabuf);
}

/* Let @child unbind; it reports by exiting. */
static pid_t unplug_in_child(struct _test_data_unplug *self)
{
	pid_t pid = fork();

	if (!pid)
		_exit(!!ptr_unbind(&self->region));
	self->unplugged = true;
	return pid;
}

/* The node is gone as soon as the unplug has begun. */
static int wait_for_enodev(int fd)
{
	struct drm_p2pbuf_device_info info;
	int tries;

	for (tries = 0; tries < 2000; tries++) {
		if (ptx_device_info(fd, &info) == -ENODEV)
			return 0;
		usleep(5000);
	}
	return -ETIMEDOUT;
}

/* An importer that has not unmapped may still read: unplug waits for it. */
TEST_F(unplug, waits_for_unmap)
{
	struct drm_p2pbuf_gem_create bo;
	int dmabuf, id, status;
	void *p;
	pid_t pid;

	if (!self->near)
		SKIP(return, "no device that can reach the BAR");

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	p = ptx_mmap(self->fd, SIZE, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	ptx_fill(p, SIZE, 9);
	dmabuf = ptx_export(self->fd, bo.handle, true);
	ASSERT_LE(0, dmabuf);
	id = pte_attach(self->edu, dmabuf,
			P2PBUF_EDU_GOOD | P2PBUF_EDU_LAZY, NULL);
	ASSERT_LE(0, id);
	ASSERT_EQ(0, pte_map(self->edu, id, NULL));

	pid = unplug_in_child(self);
	ASSERT_LE(0, pid);
	ASSERT_EQ(0, wait_for_enodev(self->fd));
	usleep(300000);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	/* Meanwhile the bytes are there, wherever they are. */
	EXPECT_EQ(SIZE, ptx_check(p, SIZE, 9));
	ASSERT_EQ(0, pte_unmap(self->edu, id));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(SIZE, ptx_check(p, SIZE, 9));
	check_replug(_metadata, self);
	munmap(p, SIZE);
	close(dmabuf);
}

/* The kernel itself has the BAR mapped and cannot be told. */
TEST_F(unplug, waits_for_vunmap)
{
	struct drm_p2pbuf_gem_create bo;
	int dmabuf, id, status;
	__u64 word = 0x77;
	pid_t pid;
	void *p;

	if (!self->near)
		SKIP(return, "no device that can reach the BAR");

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	p = ptx_mmap(self->fd, SIZE, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	ptx_fill(p, SIZE, 10);
	dmabuf = ptx_export(self->fd, bo.handle, true);
	ASSERT_LE(0, dmabuf);
	id = pte_attach(self->edu, dmabuf, P2PBUF_EDU_GOOD, NULL);
	ASSERT_LE(0, id);
	ASSERT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_VMAP, id));

	pid = unplug_in_child(self);
	ASSERT_LE(0, pid);
	ASSERT_EQ(0, wait_for_enodev(self->fd));
	usleep(300000);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	ASSERT_EQ(0, pte_copy(self->edu, id, P2PBUF_EDU_CPU, 8, &word,
			      sizeof(word), 1));
	ASSERT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_VUNMAP, id));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(word, ((volatile __u64 *)p)[1]);
	((volatile __u64 *)p)[1] = ptx_word(10, 1);
	EXPECT_EQ(SIZE, ptx_check(p, SIZE, 10));
	munmap(p, SIZE);
	close(dmabuf);
}

struct load {
	const struct ptr_region *region;
	volatile int stop;
	unsigned int rounds;
	int error;
	__u64 wrong;
};

/* Create, move, check, until the device is gone; then on the next one. */
static void *load(void *arg)
{
	struct load *l = arg;

	while (!l->stop) {
		struct drm_p2pbuf_gem_create bo;
		int fd = ptr_open(l->region), ret;
		void *p;

		if (fd < 0)
			continue;
		ret = ptx_create(fd, MIB, VRAM, 0, &bo);
		p = ret ? NULL : ptx_mmap(fd, MIB, bo.mmap_offset);
		if (p) {
			ptx_fill(p, MIB, l->rounds);
			ptx_move(fd, bo.handle, SYSTEM, 0);
			ptx_move(fd, bo.handle, VRAM, 0);
			if (ptx_check(p, MIB, l->rounds) != MIB)
				l->wrong++;
			munmap(p, MIB);
			l->rounds++;
		} else if (ret && ret != -ENODEV) {
			l->error = ret;
		}
		close(fd);
	}
	return NULL;
}

TEST_F_TIMEOUT(unplug, under_load, 120)
{
	struct load loads[3] = {};
	pthread_t threads[3];
	int i;

	for (i = 0; i < 3; i++) {
		loads[i].region = &self->region;
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, load,
					    &loads[i]));
	}
	for (i = 0; i < 10; i++) {
		usleep(100000);
		ASSERT_EQ(0, unplug(self));
		ASSERT_EQ(0, ptr_probe(&self->region));
		self->unplugged = false;
	}
	for (i = 0; i < 3; i++)
		loads[i].stop = 1;
	for (i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(0, loads[i].error);
		EXPECT_EQ(0, loads[i].wrong);
		EXPECT_LT(0, loads[i].rounds);
	}
}

/* ---- the module -------------------------------------------------------------- */

static int unload(const char *module)
{
	return syscall(SYS_delete_module, module, O_NONBLOCK) ? -errno : 0;
}

/* A dma-buf of @region that nothing else is open of. */
static int lone_dmabuf(const struct ptr_region *region)
{
	struct drm_p2pbuf_gem_create bo;
	int fd = ptr_open(region), ret;

	if (fd < 0)
		return fd;
	ret = ptx_create(fd, SIZE, VRAM, 0, &bo);
	if (!ret)
		ret = ptx_export(fd, bo.handle, true);
	close(fd);
	return ret;
}

/*
 * A node, a dma-buf, a mapping, an importer: each of them alone keeps the
 * module. Without them it goes, and its regions with it; and it comes again.
 */
TEST(module_unload)
{
	struct ptr_region region;
	int fd, dmabuf, edu, ret;
	void *p;

	if (ptr_find(0, &region))
		SKIP(return, "no render node of the exporter");
	/* It uses our symbols. */
	ret = unload(EXAMPLE);
	ASSERT_TRUE(!ret || ret == -ENOENT);

	fd = ptr_open(&region);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EWOULDBLOCK, unload(MODULE));
	close(fd);
	dmabuf = lone_dmabuf(&region);
	ASSERT_LE(0, dmabuf);
	EXPECT_EQ(-EWOULDBLOCK, unload(MODULE));
	p = ptx_mmap(dmabuf, SIZE, 0);
	ASSERT_NE(NULL, p);
	close(dmabuf);
	ptx_fill(p, SIZE, 11);
	EXPECT_EQ(-EWOULDBLOCK, unload(MODULE));
	EXPECT_EQ(SIZE, ptx_check(p, SIZE, 11));
	edu = pte_open();
	if (edu >= 0) {
		dmabuf = lone_dmabuf(&region);
		EXPECT_LE(0, pte_attach(edu, dmabuf, P2PBUF_EDU_GOOD, NULL));
		close(dmabuf);
		munmap(p, SIZE);
		EXPECT_EQ(-EWOULDBLOCK, unload(MODULE));
		close(edu);
	} else {
		munmap(p, SIZE);
	}

	/* Files are let go of in the background. */
	EXPECT_TRUE(ptk_until((ret = unload(MODULE)) != -EWOULDBLOCK,
			      PATIENCE_MS));
	EXPECT_EQ(0, ret);
	EXPECT_EQ(-ENODEV, ptr_open(&region));
	ASSERT_EQ(0, ptk_run("modprobe " MODULE));
	check_empty(_metadata, &region);
}

/* ---- another driver ---------------------------------------------------------- */

/* The library by another driver: the example. */
FIXTURE(example)
{
	struct ptr_region region;
	bool bound;
};

FIXTURE_SETUP(example)
{
	if (ptr_find(0, &self->region))
		SKIP(return, "no render node of the exporter");
	if (system("modprobe " EXAMPLE))
		SKIP(return, "no module " EXAMPLE);
	ASSERT_EQ(0, ptr_unbind(&self->region));
	self->bound = true;
	ASSERT_EQ(0, ptr_override(&self->region, EXAMPLE));
	ASSERT_EQ(0, ptr_probe(&self->region));
}

FIXTURE_TEARDOWN(example)
{
	if (!self->bound)
		return;
	ptr_unbind(&self->region);
	ptr_override(&self->region, PTX_DRIVER_NAME);
	ptr_probe(&self->region);
}

TEST_F(example, is_a_region_like_any)
{
	struct drm_p2pbuf_gem_create bo, window;
	struct drm_p2pbuf_device_info info;
	__u64 bar;
	void *p, *w;
	int fd;

	fd = ptr_open(&self->region);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ptx_device_info(fd, &info));
	bar = info.vram_size + MIB;
	EXPECT_EQ(2, info.bar);
	EXPECT_EQ(bar / 2, info.resident_limit);

	/* Windows see the reserved MiB, objects are never in it. */
	ASSERT_EQ(0, ptx_create_window(fd, MIB, 0, &window));
	w = ptx_mmap(fd, MIB, window.mmap_offset);
	ASSERT_NE(NULL, w);
	ptx_fill(w, MIB, 1);
	EXPECT_EQ(-ERANGE, ptx_create_window(fd, 4096, bar, &bo));
	EXPECT_EQ(-ENOSPC, ptx_create(fd, bar, VRAM, 0, &bo));
	EXPECT_EQ(-EDQUOT, ptx_create(fd, info.vram_size, VRAM, 0, &bo));
	ASSERT_EQ(0, ptx_create(fd, bar / 2, VRAM, 0, &bo));
	p = ptx_mmap(fd, bar / 2, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	ptx_fill(p, bar / 2, 2);
	EXPECT_EQ(MIB, ptx_check(w, MIB, 1));
	ASSERT_EQ(0, ptx_move(fd, bo.handle, SYSTEM, 0));
	EXPECT_EQ(bar / 2, ptx_check(p, bar / 2, 2));
	munmap(p, bar / 2);
	munmap(w, MIB);
	close(fd);
}

/* Only inside a pin of its own has an importer that hears of no move VRAM. */
TEST_F(unplug, unrevocable_importer_has_to_pin)
{
	const __u32 kind = P2PBUF_EDU_DYNAMIC | P2PBUF_EDU_P2P;
	struct drm_p2pbuf_gem_create bo;
	struct drm_p2pbuf_gem_info info;
	int fd, dmabuf, id, ret;
	__u32 p2p = 0;

	if (!self->near)
		SKIP(return, "the device cannot reach the BAR here");

	ASSERT_EQ(0, ptr_param("unrevocable", "1"));
	ret = ptr_rebind(&self->region);
	ASSERT_EQ(0, ptr_param("unrevocable", "0"));
	ASSERT_EQ(0, ret);
	fd = ptr_open(&self->region);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ptx_create(fd, SIZE, VRAM, 0, &bo));
	dmabuf = ptx_export(fd, bo.handle, true);
	ASSERT_LE(0, dmabuf);

	id = pte_attach(self->edu, dmabuf, kind, &p2p);
	ASSERT_LE(0, id);
	EXPECT_EQ(1, p2p);
	ASSERT_EQ(0, pte_map(self->edu, id, NULL));
	ASSERT_EQ(0, ptx_info(fd, bo.handle, &info));
	EXPECT_EQ(SYSTEM, info.placement);
	EXPECT_EQ(0, info.pins);
	ASSERT_EQ(0, pte_detach(self->edu, id));
	ASSERT_EQ(0, ptx_move(fd, bo.handle, VRAM, 0));

	id = pte_attach(self->edu, dmabuf, kind, &p2p);
	ASSERT_LE(0, id);
	ASSERT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_PIN, id));
	ASSERT_EQ(0, pte_map(self->edu, id, NULL));
	ASSERT_EQ(0, ptx_info(fd, bo.handle, &info));
	EXPECT_EQ(VRAM, info.placement);
	EXPECT_EQ(1, info.pins);
	EXPECT_EQ(-EBUSY, ptx_move(fd, bo.handle, SYSTEM, 0));
	ASSERT_EQ(0, pte_unmap(self->edu, id));
	ASSERT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_UNPIN, id));
	EXPECT_EQ(0, ptx_move(fd, bo.handle, SYSTEM, 0));
	ASSERT_EQ(0, pte_detach(self->edu, id));

	close(dmabuf);
	close(fd);
	ASSERT_EQ(0, ptr_rebind(&self->region));
}

/*
 * A move does not wait for who unmaps late, but an unplug has to, wherever the
 * object is by then: the addresses are of the BAR.
 */
TEST_F(unplug, waits_for_unmap_after_a_move)
{
	struct drm_p2pbuf_gem_create bo;
	struct p2pbuf_edu_stat stat;
	int dmabuf, id, status;
	pid_t pid;
	void *p;

	if (!self->near)
		SKIP(return, "no device that can reach the BAR");

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	p = ptx_mmap(self->fd, SIZE, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	ptx_fill(p, SIZE, 11);
	dmabuf = ptx_export(self->fd, bo.handle, true);
	ASSERT_LE(0, dmabuf);
	id = pte_attach(self->edu, dmabuf,
			P2PBUF_EDU_GOOD | P2PBUF_EDU_LAZY, NULL);
	ASSERT_LE(0, id);
	ASSERT_EQ(0, pte_map(self->edu, id, NULL));
	ASSERT_EQ(0, ptx_move(self->fd, bo.handle, SYSTEM, 0));
	ASSERT_EQ(0, pte_stat(self->edu, id, &stat));
	EXPECT_EQ(1, stat.invalidations);

	pid = unplug_in_child(self);
	ASSERT_LE(0, pid);
	ASSERT_EQ(0, wait_for_enodev(self->fd));
	usleep(300000);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	ASSERT_EQ(0, pte_unmap(self->edu, id));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(SIZE, ptx_check(p, SIZE, 11));
	check_replug(_metadata, self);
	munmap(p, SIZE);
	close(dmabuf);
}

TEST_HARNESS_MAIN
