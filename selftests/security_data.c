// SPDX-License-Identifier: GPL-2.0
/*
 * Security of the exporter: what one user's memory tells another, what replies
 * tell of addresses, limits that cannot be walked around, and what a passed
 * descriptor is worth. Documentation/security.rst names each case.
 */
#include <dirent.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "p2pbuf_test_address.h"
#include "p2pbuf_test_rig.h"
#include "p2pbuf_test_nobody.h"

#define VRAM	P2PBUF_PLACEMENT_VRAM
#define SYSTEM	P2PBUF_PLACEMENT_SYSTEM
#define SIZE	(1ULL << 20)
#define SECRET	0x5ec2e75ec2e75ec2ULL

FIXTURE(security) {
	int fd;
	struct drm_p2pbuf_device_info info;
};

FIXTURE_SETUP(security)
{
	self->fd = ptx_open(0);
	if (self->fd < 0)
		SKIP(return, "no render node of the exporter");
	ASSERT_EQ(0, ptx_device_info(self->fd, &self->info));
}

FIXTURE_TEARDOWN(security)
{
	if (self->fd >= 0)
		close(self->fd);
}

/* An open file of a child's own: what is passed to it shares nothing. */
struct child {
	int fd;
	int dmabuf;
	__u64 size;
	__u32 placement;
	__u32 flags;
};

/* ---- memory of others ------------------------------------------------------ */

static void fill_secret(void *p, __u64 size)
{
	volatile __u64 *word = p;
	__u64 i;

	for (i = 0; i < size / 8; i++)
		word[i] = SECRET;
}

/* All of VRAM but some, in pieces, as nobody: is there a secret in it? */
static int look_for_secret(void *arg)
{
	struct child *c = arg;
	struct drm_p2pbuf_gem_create bo;
	__u64 got = 0, size = 4 * SIZE;
	void *p;

	while (got < c->size) {
		if (ptx_create(c->fd, size, c->placement, c->flags, &bo))
			return 1;
		p = ptx_mmap(c->fd, size, bo.mmap_offset);
		if (!p)
			return 2;
		if (ptx_check_value(p, size, 0) != size)
			return 3;
		munmap(p, size);
		got += size;
	}
	return 0;
}

/* Written by root, freed, taken by nobody: in each place, and moved between. */
TEST_F(security, memory_of_others_is_zero)
{
	struct child c = { .size = 32 * SIZE };
	struct drm_p2pbuf_gem_create bo;
	void *p;
	int i;

	for (i = 0; i < 4; i++) {
		int owner = ptx_open(0);

		ASSERT_LE(0, owner);
		ASSERT_EQ(0, ptx_create(owner, c.size, i & 1 ? SYSTEM : VRAM, 0,
					&bo));
		p = ptx_mmap(owner, c.size, bo.mmap_offset);
		ASSERT_NE(NULL, p);
		fill_secret(p, c.size);
		/* a place that was left by a move, too */
		if (i & 2)
			ASSERT_EQ(0, ptx_move(owner, bo.handle,
					      i & 1 ? VRAM : SYSTEM, 0));
		munmap(p, c.size);
		close(owner);
		c.fd = ptx_open(0);
		ASSERT_LE(0, c.fd);
		c.placement = VRAM;
		EXPECT_EQ(0, pt_child(look_for_secret, &c, 1));
		c.placement = SYSTEM;
		EXPECT_EQ(0, pt_child(look_for_secret, &c, 1));
		close(c.fd);
	}
}

/* ---- addresses -------------------------------------------------------------- */

TEST_F(security, no_address_in_replies)
{
	struct drm_p2pbuf_gem_create bo;
	struct drm_p2pbuf_gem_info gem;
	__u64 start, end;
	char path[64];
	int dmabuf, i;

	if (pta_bar_range(&self->info, &start, &end))
		SKIP(return, "nobody tells where the BAR is");
	EXPECT_EQ(0, pta_addresses(&self->info, sizeof(self->info), start, end));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, i == 2 ? ptx_create_window(self->fd, SIZE, 0, &bo) :
			  ptx_create(self->fd, SIZE, i ? SYSTEM : VRAM, 0,
				     &bo));
		EXPECT_EQ(0, pta_addresses(&bo, sizeof(bo), start, end));
		ASSERT_EQ(0, ptx_info(self->fd, bo.handle, &gem));
		EXPECT_EQ(0, pta_addresses(&gem, sizeof(gem), start, end));
		dmabuf = ptx_export(self->fd, bo.handle, true);
		ASSERT_LE(0, dmabuf);
		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", dmabuf);
		EXPECT_EQ(0, pta_addresses_in_text(path, start, end));
		close(dmabuf);
	}
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->fd);
	EXPECT_EQ(0, pta_addresses_in_text(path, start, end));
	/* the test would see one */
	snprintf(path, sizeof(path), "/proc/iomem");
	EXPECT_LT(0, pta_addresses_in_text(path, start, end));
}

TEST_F(security, no_address_in_bindings)
{
	struct p2pbuf_nvme_bind_info info;
	struct ptn_rig rig;
	__u64 start, end;

	if (pta_bar_range(&self->info, &start, &end))
		SKIP(return, "nobody tells where the BAR is");
	PTN_RIG_OPEN(&rig, .kind = PTN_VRAM, .size = SIZE);
	ASSERT_EQ(0, ptn_info(rig.node, rig.id, &info));
	/* "no device" is all ones and looks like half an address */
	ASSERT_EQ(P2PBUF_PATH_NO_DEVICE, rig.bind.path.blocker);
	ASSERT_EQ(P2PBUF_PATH_NO_DEVICE, info.path.blocker);
	rig.bind.path.blocker = 0;
	info.path.blocker = 0;
	EXPECT_EQ(0, pta_addresses(&rig.bind, sizeof(rig.bind), start, end));
	EXPECT_EQ(0, pta_addresses(&info, sizeof(info), start, end));
	ptn_rig_close(&rig);
}

/* Every file below the folder: can nobody open it? */
static int can_open_any(void *arg)
{
	struct dirent *e;
	char path[PATH_MAX];
	DIR *dir = opendir(arg);

	/* not even the folder: as it should be */
	if (!dir)
		return 0;
	while ((e = readdir(dir))) {
		if (e->d_type != DT_REG)
			continue;
		snprintf(path, sizeof(path), "%s/%s", (char *)arg, e->d_name);
		if (open(path, O_RDONLY | O_CLOEXEC) >= 0)
			return 1;
	}
	closedir(dir);
	return 0;
}

TEST_F(security, debugfs_is_for_root)
{
	static char * const folders[] = {
		"/sys/kernel/debug/p2pbuf", "/sys/kernel/debug/p2pbuf/nvme",
		"/sys/kernel/tracing/events/p2pbuf",
	};
	unsigned int i;
	struct stat st;

	for (i = 0; i < ARRAY_SIZE(folders); i++) {
		if (stat(folders[i], &st))
			continue;
		EXPECT_EQ(0, pt_child(can_open_any, folders[i], 1));
	}
	/* readable for root alone whatever the folder above allows */
	ASSERT_EQ(0, stat("/sys/kernel/debug/p2pbuf/attachments", &st));
	EXPECT_EQ(0, st.st_mode & 0077);
}

/* Who opens it may let other machines at his buffers: nobody does by default. */
TEST_F(security, rdma_node_is_for_root)
{
	struct stat st;

	if (stat("/dev/p2pbuf-rdma", &st))
		SKIP(return, "no RDMA node");
	EXPECT_TRUE(S_ISCHR(st.st_mode));
	EXPECT_EQ(0600, st.st_mode & 0777);
	EXPECT_EQ(0, st.st_uid);
}

/* ---- limits ------------------------------------------------------------------ */

/* With many open files there is no more to be pinned than with one. */
static int pin_with_many_files(void *arg)
{
	struct drm_p2pbuf_device_info info;
	struct drm_p2pbuf_gem_create bo;
	struct child *c = arg;
	__u64 pinned = 0, piece;
	int *fds = (int *)(c + 1), i, ret;

	if (ptx_device_info(fds[0], &info))
		return 1;
	piece = info.pin_limit / 8 & ~4095ULL;
	for (i = 0; i < 16; i++) {
		ret = ptx_create(fds[i], piece, VRAM, P2PBUF_CREATE_VRAM_ONLY,
				 &bo);
		if (ret == -EDQUOT)
			break;
		if (ret)
			return 2;
		pinned += piece;
	}
	if (i == 16 || pinned > info.pin_limit)
		return 3;
	/* every file says the same */
	if (ptx_device_info(fds[15], &info) || info.pin_used != pinned)
		return 4;
	return 0;
}

TEST_F(security, files_do_not_add_up)
{
	struct {
		struct child c;
		int fds[16];
	} all;
	int i;

	for (i = 0; i < 16; i++) {
		all.fds[i] = ptx_open(0);
		ASSERT_LE(0, all.fds[i]);
	}
	EXPECT_EQ(0, pt_child(pin_with_many_files, &all, 1));
	for (i = 0; i < 16; i++)
		close(all.fds[i]);
}

/* Whoever was given the descriptor keeps what the giver is charged for. */
TEST_F(security, passing_does_not_pay)
{
	struct drm_p2pbuf_device_info before, after;
	struct drm_p2pbuf_gem_create bo;
	int dmabuf, owner = ptx_open(0);

	ASSERT_LE(0, owner);
	ASSERT_EQ(0, ptx_device_info(owner, &before));
	ASSERT_EQ(0, ptx_create(owner, SIZE, VRAM, P2PBUF_CREATE_VRAM_ONLY,
				&bo));
	dmabuf = ptx_export(owner, bo.handle, true);
	ASSERT_LE(0, dmabuf);
	close(owner);
	ASSERT_EQ(0, ptx_device_info(self->fd, &after));
	EXPECT_EQ(before.pin_used + SIZE, after.pin_used);
	close(dmabuf);
	ASSERT_EQ(0, ptx_device_info(self->fd, &after));
	EXPECT_EQ(before.pin_used, after.pin_used);
}

/* ---- what a descriptor is worth ------------------------------------------------ */

static int get_a_handle(void *arg)
{
	struct child *c = arg;
	__u32 handle;
	int ret = ptx_import(c->fd, c->dmabuf, &handle);

	return ret == -EACCES ? 0 : 1;
}

static int get_a_writable_mapping(void *arg)
{
	struct child *c = arg;
	char path[64];
	int fd;

	if (ptx_mmap(c->dmabuf, SIZE, 0))
		return 1;
	/* opening it anew would ask for other rights */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", c->dmabuf);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd >= 0 ? 2 : 0;
}

/* Not by a handle, which would give all rights; not by mapping; not by I/O. */
TEST_F(security, read_only_stays_read_only)
{
	struct drm_p2pbuf_gem_create bo;
	struct child c;
	__u32 handle;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	c.dmabuf = ptx_export(self->fd, bo.handle, false);
	c.fd = ptx_open(0);
	ASSERT_LE(0, c.dmabuf);
	ASSERT_LE(0, c.fd);
	EXPECT_EQ(0, pt_child(get_a_handle, &c, 0));
	EXPECT_EQ(0, pt_child(get_a_handle, &c, 1));
	EXPECT_EQ(0, pt_child(get_a_writable_mapping, &c, 0));
	EXPECT_EQ(0, pt_child(get_a_writable_mapping, &c, 1));
	/* who exported it has the handle anyway */
	EXPECT_EQ(0, ptx_import(self->fd, c.dmabuf, &handle));
	EXPECT_EQ(bo.handle, handle);
	close(c.fd);
	close(c.dmabuf);
}

TEST_F(security, read_only_takes_no_data)
{
	struct ptn_rig rig;
	struct p2pbuf_nvme_bind bind;
	struct drm_p2pbuf_gem_create bo;
	int dmabuf, id;

	PTN_RIG_OPEN(&rig, .kind = PTN_VRAM, .size = SIZE);
	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	dmabuf = ptx_export(self->fd, bo.handle, false);
	ASSERT_LE(0, dmabuf);
	id = ptn_bind_range(rig.node, dmabuf, rig.disk.fd, 0, 0, 0, &bind);
	ASSERT_LT(0, id);
	EXPECT_EQ(P2PBUF_NVME_RIGHT_WRITE, bind.rights);
	EXPECT_EQ(-EACCES, ptn_read(&rig.ring, rig.node, id, 0, 0, 4096));
	close(dmabuf);
	ptn_rig_close(&rig);
}

/*
 * Not what one would wish, but so it is in all of DRM: there is one dma-buf
 * for an object, and its first export has decided what may be done with it.
 */
TEST_F(security, first_export_decides)
{
	struct drm_p2pbuf_gem_create bo;
	int first, second;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	first = ptx_export(self->fd, bo.handle, true);
	second = ptx_export(self->fd, bo.handle, false);
	ASSERT_LE(0, first);
	ASSERT_LE(0, second);
	EXPECT_EQ(O_RDWR, fcntl(second, F_GETFL) & O_ACCMODE);
	close(first);
	close(second);
	/* for as long as the handle lives */
	second = ptx_export(self->fd, bo.handle, false);
	ASSERT_LE(0, second);
	EXPECT_EQ(O_RDWR, fcntl(second, F_GETFL) & O_ACCMODE);
	close(second);
}

/* A handle of one open file is nothing in another. */
TEST_F(security, handles_are_of_one_file)
{
	struct drm_p2pbuf_gem_create bo;
	struct drm_p2pbuf_gem_info info;
	int other = ptx_open(0);

	ASSERT_LE(0, other);
	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	EXPECT_EQ(-ENOENT, ptx_info(other, bo.handle, &info));
	EXPECT_EQ(-ENOENT, ptx_move(other, bo.handle, SYSTEM, 0));
	EXPECT_EQ(-ENOENT, ptx_export(other, bo.handle, true));
	EXPECT_EQ(NULL, ptx_mmap(other, SIZE, bo.mmap_offset));
	EXPECT_EQ(EACCES, errno);
	close(other);
}

TEST_HARNESS_MAIN
