// SPDX-License-Identifier: GPL-2.0
/*
 * Security of the exporter: what one user's memory tells another, what replies
 * tell of addresses, limits that cannot be walked around, and what a passed
 * descriptor is worth. Documentation/security.rst names each case.
 */
#include <ftw.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "p2pbuf_test_address.h"
#include "p2pbuf_test_rig.h"
#include "p2pbuf_test_nobody.h"
#include "p2pbuf_test_region.h"

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

/* An object of an open file of its own, and all that is said of it. */
struct told {
	int fd;
	int dmabuf;
	struct drm_p2pbuf_gem_create create;
	struct drm_p2pbuf_gem_info info;
	struct drm_p2pbuf_device_info device;
};

enum { IN_VRAM, IN_SYSTEM, WINDOW, KINDS };

static int tell(struct told *t, int kind, __u64 window)
{
	int ret;

	t->fd = ptx_open(0);
	if (t->fd < 0)
		return t->fd;
	if (kind == WINDOW)
		ret = ptx_create_window(t->fd, SIZE, window, &t->create);
	else
		ret = ptx_create(t->fd, SIZE, kind == IN_VRAM ? VRAM : SYSTEM,
				 0, &t->create);
	if (ret)
		return ret;
	t->dmabuf = ptx_export(t->fd, t->create.handle, true);
	ret = ptx_info(t->fd, t->create.handle, &t->info);
	return t->dmabuf < 0 ? t->dmabuf : ret;
}

/* No address, and nothing that depends on where it lies. */
#define TELLS_NOTHING(a, b) do {					\
	EXPECT_EQ(0, pta_addresses(&(a), sizeof(a), start, end));	\
	EXPECT_EQ(sizeof(a), pta_differs(&(a), &(b), sizeof(a)));	\
} while (0)

#define TEXT_TELLS_NOTHING(a, b) do {					\
	char _a[64], _b[64];						\
									\
	snprintf(_a, sizeof(_a), "/proc/self/fdinfo/%d", a);		\
	snprintf(_b, sizeof(_b), "/proc/self/fdinfo/%d", b);		\
	EXPECT_EQ(0, pta_addresses_in_text(_a, start, end));		\
	EXPECT_EQ(0, pta_lines_differ(_a, _b));				\
} while (0)

TEST_F(security, no_address_in_replies)
{
	const char *pci = getenv("P2PBUF_NVME_MAIN_PCI");
	struct drm_p2pbuf_peer_info peer = {};
	unsigned int domain, bus, dev, fn;
	struct told a, b;
	__u64 start, end;
	int kind;

	if (pta_bar_range(&self->info, &start, &end))
		SKIP(return, "nobody tells where the BAR is");
	for (kind = 0; kind < KINDS; kind++) {
		ASSERT_EQ(0, tell(&a, kind, 0));
		ASSERT_EQ(0, tell(&b, kind, SIZE));
		ASSERT_EQ(0, ptx_device_info(a.fd, &a.device));
		ASSERT_EQ(0, ptx_device_info(b.fd, &b.device));
		/* The caller's own; and what DRM counts up for mmap(). */
		a.create.window_offset = b.create.window_offset;
		EXPECT_EQ(a.create.mmap_offset, a.info.mmap_offset);
		EXPECT_EQ(b.create.mmap_offset, b.info.mmap_offset);
		a.create.mmap_offset = 0;
		b.create.mmap_offset = 0;
		a.info.mmap_offset = 0;
		b.info.mmap_offset = 0;
		TELLS_NOTHING(a.create, b.create);
		TELLS_NOTHING(a.info, b.info);
		TELLS_NOTHING(a.device, b.device);
		TEXT_TELLS_NOTHING(a.dmabuf, b.dmabuf);
		TEXT_TELLS_NOTHING(a.fd, b.fd);
		close(a.dmabuf);
		close(b.dmabuf);
		close(a.fd);
		close(b.fd);
	}
	/* All of this one is known. */
	if (pci && sscanf(pci, "%x:%x:%x.%x", &domain, &bus, &dev, &fn) == 4) {
		peer.pci = domain << 16 | bus << 8 | dev << 3 | fn;
		fn = peer.pci;
		ASSERT_EQ(0, ptx_ioctl(self->fd, DRM_IOCTL_P2PBUF_PEER_INFO,
				       &peer));
		EXPECT_EQ(fn, peer.pci);
		EXPECT_EQ(0, peer.flags & ~P2PBUF_PEER_REACHABLE);
	}
	/* the test would see one, and whether there was nothing to see */
	EXPECT_LT(0, pta_addresses_in_text("/proc/iomem", start, end));
	EXPECT_GT(0, pta_addresses_in_text("/proc/self/none", start, end));
}

/* A binding of a file of its own, and all that is said of it. */
struct binding {
	struct ptn_rig rig;
	struct p2pbuf_nvme_bind_info info;
};

static void bind_and_ask(struct __test_metadata *_metadata, struct binding *b,
			 enum ptn_kind kind)
{
	PTN_RIG_OPEN(&b->rig, .kind = kind, .size = SIZE, .bind_flags =
		     kind == PTN_VRAM ? 0 : P2PBUF_NVME_BIND_ALLOW_SYSTEM);
	ASSERT_EQ(4096, ptn_read(&b->rig.ring, b->rig.node, b->rig.id, 0, 0,
				 4096));
	ASSERT_EQ(0, ptn_info(b->rig.node, b->rig.id, &b->info));
	EXPECT_EQ(4096, b->info.bytes_peer + b->info.bytes_system);
	/* Chance, not place: did the one command find a free request? */
	EXPECT_GE(1, b->info.deferred);
	b->info.deferred = 0;
	pta_hide_no_device(&b->rig.bind.path);
	pta_hide_no_device(&b->info.path);
	/* The caller's own. */
	b->rig.bind.dmabuf_fd = 0;
	b->rig.bind.bdev_fd = 0;
}

static void two_bindings(struct __test_metadata *_metadata,
			 const struct drm_p2pbuf_device_info *device,
			 enum ptn_kind kind)
{
	struct binding a, b;
	__u64 start, end, at;

	if (pta_bar_range(device, &start, &end))
		SKIP(return, "nobody tells where the BAR is");
	bind_and_ask(_metadata, &a, kind);
	bind_and_ask(_metadata, &b, kind);
	if (kind == PTN_UDMABUF) {
		/* Ordinary memory, of which root can learn where it lies. */
		ptn_poison(a.rig.buffer.map, SIZE);
		ptn_poison(b.rig.buffer.map, SIZE);
		at = pta_physical(a.rig.buffer.map);
		ASSERT_NE(0, at);
		EXPECT_NE(at, pta_physical(b.rig.buffer.map));
	}
	TELLS_NOTHING(a.rig.bind, b.rig.bind);
	TELLS_NOTHING(a.info, b.info);
	TEXT_TELLS_NOTHING(a.rig.buffer.dmabuf, b.rig.buffer.dmabuf);
	TEXT_TELLS_NOTHING(a.rig.node, b.rig.node);
	ptn_rig_close(&a.rig);
	ptn_rig_close(&b.rig);
}

TEST_F(security, no_address_in_bindings)
{
	two_bindings(_metadata, &self->info, PTN_VRAM);
}

TEST_F(security, no_address_of_host_memory)
{
	two_bindings(_metadata, &self->info, PTN_UDMABUF);
}

/* ---- files for root ------------------------------------------------------------ */

static char *files[4096];
static unsigned int nr_files;

static int note_file(const char *path, const struct stat *st, int type,
		     struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (type == FTW_F && nr_files < ARRAY_SIZE(files))
		files[nr_files++] = strdup(path);
	return 0;
}

static bool can_open(const char *path)
{
	return open(path, O_RDONLY | O_CLOEXEC) >= 0 ||
	       open(path, O_WRONLY | O_CLOEXEC) >= 0;
}

/* Not by way of the folder: whoever knows a name need not read that. */
static int can_open_any(void *unused)
{
	unsigned int i;

	(void)unused;
	for (i = 0; i < nr_files; i++)
		if (can_open(files[i]))
			return 1;
	return 0;
}

/* Notes every file below @folder; how many there are. */
static unsigned int note_files(const char *folder)
{
	unsigned int before = nr_files;

	nftw(folder, note_file, 16, FTW_PHYS);
	return nr_files - before;
}

TEST_F(security, debugfs_is_for_root)
{
	static const char * const modules[] = { "core", "nvme", "rdma" };
	struct ptr_region region;
	char path[96];
	unsigned int i;
	struct stat st;

	/* Whatever the folders above allow. */
	ASSERT_LT(0, note_files("/sys/kernel/debug/p2pbuf"));
	for (i = 0; i < nr_files; i++) {
		ASSERT_EQ(0, stat(files[i], &st));
		EXPECT_EQ(0, st.st_mode & 0077) TH_LOG("%s", files[i]);
		EXPECT_EQ(0, st.st_uid);
	}
	for (i = 0; i < ARRAY_SIZE(modules); i++) {
		snprintf(path, sizeof(path), "/sys/module/p2pbuf_%s",
			 modules[i]);
		if (access(path, F_OK))
			continue;
		snprintf(path, sizeof(path), "/sys/kernel/debug/p2pbuf/%s",
			 i ? modules[i] : "attachments");
		EXPECT_EQ(0, access(path, F_OK)) TH_LOG("%s", path);
	}
	/* DRM's and the tracer's files have their modes, and closed folders. */
	ASSERT_EQ(0, ptr_find(0, &region));
	snprintf(path, sizeof(path), "/sys/kernel/debug/dri/%s", region.name);
	EXPECT_LT(0, note_files(path));
	EXPECT_LT(0, note_files("/sys/kernel/tracing/events/p2pbuf"));
	ASSERT_GT(ARRAY_SIZE(files), nr_files);
	EXPECT_EQ(0, pt_child(can_open_any, NULL, 1));
}

static int can_open_path(void *path)
{
	return can_open(path);
}

/* Those of the modules that hand out power over the kernel to tests. */
TEST(test_nodes_are_for_root)
{
	static const char * const names[] = { "mock", "probe", "edu" };
	char module[32], path[32], command[64];
	unsigned int i, found = 0;
	struct stat st;
	bool load;
	int fd;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(module, sizeof(module), "p2pbuf_%s", names[i]);
		snprintf(path, sizeof(path), "/dev/p2pbuf-%s", names[i]);
		snprintf(command, sizeof(command), "modprobe %s 2>/dev/null",
			 module);
		load = access(path, F_OK);
		if (load && system(command))
			continue;
		found++;
		ASSERT_EQ(0, stat(path, &st)) TH_LOG("%s", path);
		EXPECT_TRUE(S_ISCHR(st.st_mode));
		EXPECT_EQ(0600, st.st_mode & 0777) TH_LOG("%s", path);
		EXPECT_EQ(0, st.st_uid);
		EXPECT_EQ(0, pt_child(can_open_path, path, 1));
		fd = open(path, O_RDWR | O_CLOEXEC);
		EXPECT_LE(0, fd);
		close(fd);
		/* It would hold the core. */
		if (load)
			syscall(SYS_delete_module, module, 0);
	}
	if (!found)
		SKIP(return, "no test module");
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
