// SPDX-License-Identifier: GPL-2.0
/*
 * Objects as programs see them, without any importer: create, map, move,
 * fork, share as dma-buf, windows.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <linux/dma-buf.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_exporter.h"
#include "p2pbuf_test_foreign.h"
#include "p2pbuf_test_nobody.h"
#include "p2pbuf_test_poke.h"

#define MIB		(1ULL << 20)
#define SIZE		(4 * MIB)
#define VRAM		P2PBUF_PLACEMENT_VRAM
#define SYSTEM		P2PBUF_PLACEMENT_SYSTEM

FIXTURE(object)
{
	int fd;
	struct drm_p2pbuf_device_info info;
};

FIXTURE_SETUP(object)
{
	self->fd = ptx_open(0);
	if (self->fd < 0)
		SKIP(return, "no render node of the exporter");
	ASSERT_EQ(0, ptx_device_info(self->fd, &self->info));
}

FIXTURE_TEARDOWN(object)
{
	if (self->fd >= 0)
		close(self->fd);
}

/* The object is where it should be and says so. */
#define EXPECT_PLACEMENT(handle, where) do {				\
	struct drm_p2pbuf_gem_info _info;				\
	ASSERT_EQ(0, ptx_info(self->fd, handle, &_info));		\
	EXPECT_EQ((__u32)(where), _info.placement);			\
} while (0)

TEST_F(object, device_info)
{
	EXPECT_GE(self->info.vram_size, 16 * MIB);
	EXPECT_EQ(4096, self->info.page_size);
	EXPECT_EQ(0, self->info.flags);
	EXPECT_LT(self->info.bar, 6);
	EXPECT_EQ(self->info.vram_size, self->info.resident_limit);
	EXPECT_EQ(self->info.vram_size / 2, self->info.pin_limit);
	EXPECT_EQ(0, self->info.resident_used);
	EXPECT_EQ(0, self->info.pin_used);
}

TEST_F(object, create_info_close)
{
	struct drm_p2pbuf_device_info device;
	struct drm_p2pbuf_gem_create bo;
	struct drm_p2pbuf_gem_info info;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	ASSERT_EQ(0, ptx_info(self->fd, bo.handle, &info));
	EXPECT_EQ(VRAM, info.placement);
	EXPECT_EQ(SIZE, info.size);
	EXPECT_EQ(bo.mmap_offset, info.mmap_offset);
	EXPECT_EQ(1, info.generation);
	EXPECT_EQ(0, info.evictions);
	EXPECT_EQ(0, info.mappings);
	EXPECT_EQ(0, info.pins);

	ASSERT_EQ(0, ptx_device_info(self->fd, &device));
	EXPECT_EQ(SIZE, device.resident_used);
	EXPECT_EQ(self->info.vram_used + SIZE, device.vram_used);

	ASSERT_EQ(0, ptx_close(self->fd, bo.handle));
	EXPECT_EQ(-ENOENT, ptx_info(self->fd, bo.handle, &info));
	ASSERT_EQ(0, ptx_device_info(self->fd, &device));
	EXPECT_EQ(0, device.resident_used);
	EXPECT_EQ(self->info.vram_used, device.vram_used);
}

TEST_F(object, fresh_memory_is_zero)
{
	static const __u32 places[] = { VRAM, SYSTEM };
	struct drm_p2pbuf_gem_create bo;
	unsigned int i, round;
	void *p;

	/* The second round gets what the first one has dirtied. */
	for (round = 0; round < 2; round++) {
		for (i = 0; i < ARRAY_SIZE(places); i++) {
			ASSERT_EQ(0, ptx_create(self->fd, SIZE, places[i], 0,
						&bo));
			p = ptx_mmap(self->fd, SIZE, bo.mmap_offset);
			ASSERT_NE(NULL, p);
			EXPECT_EQ(SIZE, ptx_check_value(p, SIZE, 0));
			ptx_fill(p, SIZE, 7 + i);
			EXPECT_EQ(SIZE, ptx_check(p, SIZE, 7 + i));
			munmap(p, SIZE);
			ASSERT_EQ(0, ptx_close(self->fd, bo.handle));
		}
	}
}

/* Every byte of VRAM is dirtied by one owner; the next sees none of it. */
TEST_F(object, recycled_vram_is_zero)
{
	__u64 size = self->info.vram_size;
	struct drm_p2pbuf_gem_create bo;
	void *p;

	if (self->info.vram_used)
		SKIP(return, "somebody else uses VRAM");

	ASSERT_EQ(0, ptx_create(self->fd, size, VRAM, 0, &bo));
	p = ptx_mmap(self->fd, size, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	ptx_fill(p, size, 1);
	munmap(p, size);
	ASSERT_EQ(0, ptx_close(self->fd, bo.handle));

	/* Both ways into VRAM: created there, and moved there empty. */
	ASSERT_EQ(0, ptx_create(self->fd, size / 2, VRAM, 0, &bo));
	p = ptx_mmap(self->fd, size / 2, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	EXPECT_EQ(size / 2, ptx_check_value(p, size / 2, 0));
	munmap(p, size / 2);

	ASSERT_EQ(0, ptx_create(self->fd, size / 2, SYSTEM, 0, &bo));
	ASSERT_EQ(0, ptx_move(self->fd, bo.handle, VRAM, 0));
	p = ptx_mmap(self->fd, size / 2, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	EXPECT_EQ(size / 2, ptx_check_value(p, size / 2, 0));
	munmap(p, size / 2);
}

TEST_F(object, move_keeps_bytes)
{
	struct drm_p2pbuf_gem_create bo;
	struct drm_p2pbuf_gem_info info;
	unsigned int i;
	void *p;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	p = ptx_mmap(self->fd, SIZE, bo.mmap_offset);
	ASSERT_NE(NULL, p);

	for (i = 0; i < 4; i++) {
		__u32 to = i & 1 ? VRAM : SYSTEM;

		ptx_fill(p, SIZE, i);
		ASSERT_EQ(0, ptx_move(self->fd, bo.handle, to,
				      i & 2 ? P2PBUF_MOVE_NOWAIT : 0));
		EXPECT_PLACEMENT(bo.handle, to);
		EXPECT_EQ(SIZE, ptx_check(p, SIZE, i));
		/* Where it is already: nothing happens. */
		ASSERT_EQ(0, ptx_move(self->fd, bo.handle, to, 0));
		ASSERT_EQ(0, ptx_info(self->fd, bo.handle, &info));
		EXPECT_EQ(2 + i, info.generation);
	}
	EXPECT_EQ(0, info.evictions);
	munmap(p, SIZE);
}

struct writer {
	volatile __u64 *word;
	volatile int stop;
	__u64 stores;
	int lost;
};

static void *write_always(void *arg)
{
	struct writer *w = arg;

	while (!w->stop) {
		w->stores++;
		*w->word = w->stores;
		if (*w->word != w->stores)
			w->lost = 1;
	}
	return NULL;
}

TEST_F(object, moves_lose_no_store)
{
	struct writer writer = {};
	struct drm_p2pbuf_gem_create bo;
	pthread_t thread;
	unsigned int i;
	char *p;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	p = ptx_mmap(self->fd, SIZE, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	ptx_fill(p, SIZE, 3);

	writer.word = (__u64 *)(p + SIZE / 2);
	ASSERT_EQ(0, pthread_create(&thread, NULL, write_always, &writer));
	for (i = 0; i < 40; i++)
		ASSERT_EQ(0, ptx_move(self->fd, bo.handle,
				      i & 1 ? VRAM : SYSTEM, 0));
	writer.stop = 1;
	pthread_join(thread, NULL);

	EXPECT_EQ(0, writer.lost);
	EXPECT_LT(0, writer.stores);
	EXPECT_EQ(writer.stores, *writer.word);
	*writer.word = ptx_word(3, SIZE / 16);
	EXPECT_EQ(SIZE, ptx_check(p, SIZE, 3));
	munmap(p, SIZE);
}

TEST_F(object, child_follows_moves)
{
	struct drm_p2pbuf_gem_create bo;
	int dmabuf, go[2], ready[2], status;
	void *node, *buf;
	pid_t pid;
	char c;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	dmabuf = ptx_export(self->fd, bo.handle, true);
	ASSERT_LE(0, dmabuf);
	node = ptx_mmap(self->fd, SIZE, bo.mmap_offset);
	buf = ptx_mmap(dmabuf, SIZE, 0);
	ASSERT_NE(NULL, node);
	ASSERT_NE(NULL, buf);
	ptx_fill(node, SIZE, 1);
	ASSERT_EQ(0, pipe(go));
	ASSERT_EQ(0, pipe(ready));

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		int bad = ptx_check(node, SIZE, 1) != SIZE;

		if (write(ready[1], "r", 1) != 1 || read(go[0], &c, 1) != 1)
			_exit(2);
		bad |= ptx_check(node, SIZE, 2) != SIZE;
		bad |= ptx_check(buf, SIZE, 2) != SIZE;
		ptx_fill(buf, SIZE, 3);
		_exit(bad);
	}

	/* The child has looked, so its page tables are filled. */
	ASSERT_EQ(1, read(ready[0], &c, 1));
	ASSERT_EQ(0, ptx_move(self->fd, bo.handle, SYSTEM, 0));
	ptx_fill(buf, SIZE, 2);
	ASSERT_EQ(1, write(go[1], "g", 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(SIZE, ptx_check(node, SIZE, 3));
	ASSERT_EQ(0, ptx_move(self->fd, bo.handle, VRAM, 0));
	EXPECT_EQ(SIZE, ptx_check(node, SIZE, 3));
	EXPECT_EQ(SIZE, ptx_check(buf, SIZE, 3));

	munmap(node, SIZE);
	munmap(buf, SIZE);
	close(dmabuf);
}

TEST_F(object, mmap_limits)
{
	struct drm_p2pbuf_gem_create bo;
	void *p, *part;
	int dmabuf;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	dmabuf = ptx_export(self->fd, bo.handle, true);
	ASSERT_LE(0, dmabuf);

	EXPECT_EQ(NULL, ptx_mmap(self->fd, SIZE + 4096, bo.mmap_offset));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(NULL, ptx_mmap(dmabuf, SIZE + 4096, 0));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(NULL, ptx_mmap(dmabuf, 4096, SIZE));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE, self->fd, bo.mmap_offset));
	EXPECT_EQ(EINVAL, errno);

	/* A part, with its own offset, across a move. */
	p = ptx_mmap(self->fd, SIZE, bo.mmap_offset);
	part = ptx_mmap(dmabuf, 8192, MIB);
	ASSERT_NE(NULL, p);
	ASSERT_NE(NULL, part);
	ptx_fill(p, SIZE, 4);
	EXPECT_EQ(0, memcmp((char *)p + MIB, part, 8192));
	ASSERT_EQ(0, ptx_move(self->fd, bo.handle, SYSTEM, 0));
	EXPECT_EQ(0, memcmp((char *)p + MIB, part, 8192));
	munmap(part, 8192);
	munmap(p, SIZE);
	close(dmabuf);
}

/* Who does not have the object's handle cannot map it by its offset. */
TEST_F(object, mmap_needs_the_handle)
{
	struct drm_p2pbuf_gem_create bo;
	int other;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	other = ptx_open(0);
	ASSERT_LE(0, other);
	EXPECT_EQ(NULL, ptx_mmap(other, SIZE, bo.mmap_offset));
	EXPECT_EQ(EACCES, errno);
	close(other);
}

TEST_F(object, mapping_outlives_file_and_handle)
{
	struct drm_p2pbuf_device_info info;
	struct drm_p2pbuf_gem_create bo;
	int fd = ptx_open(0);
	void *p;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ptx_create(fd, SIZE, VRAM, 0, &bo));
	p = ptx_mmap(fd, SIZE, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	ASSERT_EQ(0, ptx_close(fd, bo.handle));
	close(fd);

	ptx_fill(p, SIZE, 5);
	EXPECT_EQ(SIZE, ptx_check(p, SIZE, 5));
	ASSERT_EQ(0, ptx_device_info(self->fd, &info));
	EXPECT_EQ(self->info.vram_used + SIZE, info.vram_used);
	munmap(p, SIZE);
	ASSERT_EQ(0, ptx_device_info(self->fd, &info));
	EXPECT_EQ(self->info.vram_used, info.vram_used);
}

TEST_F(object, prime)
{
	struct drm_p2pbuf_gem_create bo, fresh;
	__u32 handle, there;
	int dmabuf, again, other;
	void *p, *q;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	dmabuf = ptx_export(self->fd, bo.handle, true);
	ASSERT_LE(0, dmabuf);
	EXPECT_EQ(SIZE, lseek(dmabuf, 0, SEEK_END));
	p = ptx_mmap(dmabuf, SIZE, 0);
	ASSERT_NE(NULL, p);
	ptx_fill(p, SIZE, 6);

	/* Back into the same file: the same handle. */
	ASSERT_EQ(0, ptx_import(self->fd, dmabuf, &handle));
	EXPECT_EQ(bo.handle, handle);
	again = ptx_export(self->fd, bo.handle, true);
	ASSERT_LE(0, again);
	close(again);

	/* Into another one: the same object. */
	other = ptx_open(0);
	ASSERT_LE(0, other);
	ASSERT_EQ(0, ptx_create(other, SIZE, VRAM, 0, &fresh));
	ASSERT_EQ(0, ptx_import(other, dmabuf, &there));
	ASSERT_EQ(0, ptx_move(other, there, SYSTEM, 0));
	EXPECT_PLACEMENT(bo.handle, SYSTEM);
	q = ptx_mmap(other, SIZE, bo.mmap_offset);
	ASSERT_NE(NULL, q);
	EXPECT_EQ(SIZE, ptx_check(q, SIZE, 6));
	munmap(q, SIZE);
	close(other);

	/* The dma-buf alone keeps it, and gives it back. */
	ASSERT_EQ(0, ptx_close(self->fd, bo.handle));
	EXPECT_EQ(SIZE, ptx_check(p, SIZE, 6));
	ASSERT_EQ(0, ptx_import(self->fd, dmabuf, &handle));
	ASSERT_EQ(0, ptx_move(self->fd, handle, VRAM, 0));
	EXPECT_EQ(SIZE, ptx_check(p, SIZE, 6));
	munmap(p, SIZE);
	close(dmabuf);
}

TEST_F(object, import_of_foreign_is_eremote)
{
	struct drm_p2pbuf_gem_create bo;
	int mem, dmabuf, other;
	__u32 handle;

	mem = ptk_memfd(SIZE);
	ASSERT_LE(0, mem);
	EXPECT_EQ(-EINVAL, ptx_import(self->fd, mem, &handle));
	EXPECT_EQ(-EBADF, ptx_import(self->fd, -1, &handle));

	dmabuf = ptk_udmabuf_of(mem, SIZE);
	if (dmabuf >= 0) {
		EXPECT_EQ(-EREMOTE, ptx_import(self->fd, dmabuf, &handle));
		close(dmabuf);
	} else {
		EXPECT_EQ(-ENOENT, dmabuf);
	}
	close(mem);

	/* Another region of the same driver is as foreign. */
	other = ptx_open(1);
	if (other < 0)
		return;
	ASSERT_EQ(0, ptx_create(other, SIZE, VRAM, 0, &bo));
	dmabuf = ptx_export(other, bo.handle, true);
	ASSERT_LE(0, dmabuf);
	EXPECT_EQ(-EREMOTE, ptx_import(self->fd, dmabuf, &handle));
	close(dmabuf);
	close(other);
}

TEST_F(object, read_only_export)
{
	struct drm_p2pbuf_gem_create bo;
	int dmabuf;
	void *p;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	dmabuf = ptx_export(self->fd, bo.handle, false);
	ASSERT_LE(0, dmabuf);
	EXPECT_EQ(NULL, ptx_mmap(dmabuf, SIZE, 0));
	EXPECT_EQ(EACCES, errno);
	p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, dmabuf, 0);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(SIZE, ptx_check_value(p, SIZE, 0));
	/* It cannot become writable afterwards either. */
	EXPECT_EQ(-1, mprotect(p, SIZE, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	munmap(p, SIZE);
	close(dmabuf);
}

TEST_F(object, cpu_access)
{
	static const __u64 directions[] = {
		DMA_BUF_SYNC_READ, DMA_BUF_SYNC_WRITE, DMA_BUF_SYNC_RW,
	};
	struct drm_p2pbuf_gem_create bo;
	struct dma_buf_sync sync;
	unsigned int i, place;
	int dmabuf;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	dmabuf = ptx_export(self->fd, bo.handle, true);
	ASSERT_LE(0, dmabuf);
	for (place = 0; place < 2; place++) {
		for (i = 0; i < ARRAY_SIZE(directions); i++) {
			sync.flags = directions[i] | DMA_BUF_SYNC_START;
			EXPECT_EQ(0, ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &sync));
			sync.flags = directions[i] | DMA_BUF_SYNC_END;
			EXPECT_EQ(0, ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &sync));
		}
		ASSERT_EQ(0, ptx_move(self->fd, bo.handle, SYSTEM, 0));
	}
	close(dmabuf);
}

/* A debugger, or /proc/pid/mem, gets at the bytes in both places. */
TEST_F(object, access_by_proc_mem)
{
	struct drm_p2pbuf_gem_create bo;
	unsigned int place;
	__u64 got[1024];
	char *p;
	int mem;

	mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, mem);
	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	p = ptx_mmap(self->fd, SIZE, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	ptx_fill(p, SIZE, 8);

	for (place = 0; place < 2; place++) {
		__u64 at = MIB - 4096 + 8, fresh = 0x1234 + place;

		memset(got, 0xa5, sizeof(got));
		ASSERT_EQ(sizeof(got), pread(mem, got, sizeof(got),
					     (off_t)(uintptr_t)p + at));
		EXPECT_EQ(0, memcmp(got, p + at, sizeof(got)));
		ASSERT_EQ(sizeof(fresh), pwrite(mem, &fresh, sizeof(fresh),
						(off_t)(uintptr_t)p + at));
		EXPECT_EQ(fresh, *(volatile __u64 *)(p + at));
		ASSERT_EQ(0, ptx_move(self->fd, bo.handle, SYSTEM, 0));
	}
	munmap(p, SIZE);
	close(mem);
}

/* The same file or dma-buf anew, for reading only. */
static int reopen_read_only(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* Not even a debugger writes what @fd shows at @offset; it may look. */
static void check_no_poke(struct __test_metadata *_metadata, int fd,
			  __u64 offset)
{
	__u64 got = 1;
	__u64 *p;
	int mem;

	p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, (off_t)offset);
	ASSERT_NE(MAP_FAILED, p);
	mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, mem);
	EXPECT_EQ(sizeof(got), pread(mem, &got, sizeof(got),
				     (off_t)(uintptr_t)p));
	EXPECT_EQ(0, got);
	EXPECT_EQ(0, ptk_poke(p, 0x77));
	EXPECT_EQ(0, ptk_poke(p + MIB / 8, 0x77));
	EXPECT_EQ(SIZE, ptx_check_value(p, SIZE, 0));
	close(mem);
	munmap(p, SIZE);
}

TEST_F(object, read_only_to_debuggers)
{
	struct drm_p2pbuf_gem_create bo, own;
	int dmabuf, node, place;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	dmabuf = ptx_export(self->fd, bo.handle, false);
	ASSERT_LE(0, dmabuf);
	node = reopen_read_only(self->fd);
	ASSERT_LE(0, node);
	ASSERT_EQ(0, ptx_create(node, SIZE, VRAM, 0, &own));
	for (place = 0; place < 2; place++) {
		check_no_poke(_metadata, dmabuf, 0);
		check_no_poke(_metadata, node, own.mmap_offset);
		ASSERT_EQ(0, ptx_move(self->fd, bo.handle, SYSTEM, 0));
		ASSERT_EQ(0, ptx_move(node, own.handle, SYSTEM, 0));
	}
	close(node);
	close(dmabuf);
}

/* A write that begins in a mapping that allows it ends where that does. */
TEST_F(object, debuggers_stop_at_the_end)
{
	const __u64 words[2] = { 0x1111, 0x2222 };
	struct drm_p2pbuf_gem_create bo;
	int mem, place;
	__u64 *p;

	mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, mem);
	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	p = ptx_mmap(self->fd, SIZE, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	ASSERT_EQ(0, mprotect(p + 512, 4096, PROT_READ));
	for (place = 0; place < 2; place++) {
		p[511] = 0;
		EXPECT_EQ(8, pwrite(mem, words, sizeof(words),
				    (off_t)(uintptr_t)(p + 511)));
		EXPECT_EQ(words[0], p[511]);
		EXPECT_EQ(0, p[512]);
		ASSERT_EQ(0, ptx_move(self->fd, bo.handle, SYSTEM, 0));
	}
	munmap(p, SIZE);
	close(mem);
}

TEST_F(object, vram_only)
{
	struct drm_p2pbuf_gem_create bo;
	struct drm_p2pbuf_gem_info info;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, P2PBUF_CREATE_VRAM_ONLY,
				&bo));
	EXPECT_EQ(0, ptx_move(self->fd, bo.handle, VRAM, 0));
	EXPECT_EQ(-EOPNOTSUPP, ptx_move(self->fd, bo.handle, SYSTEM, 0));
	ASSERT_EQ(0, ptx_info(self->fd, bo.handle, &info));
	EXPECT_EQ(VRAM, info.placement);
	EXPECT_EQ(P2PBUF_CREATE_VRAM_ONLY, info.flags);
	EXPECT_EQ(1, info.generation);
}

TEST_F(object, window)
{
	struct drm_p2pbuf_gem_create bo, window, part;
	__u64 size = self->info.vram_size, at;
	struct drm_p2pbuf_gem_info info;
	char *w, *p, *q;

	if (self->info.vram_used)
		SKIP(return, "somebody else uses VRAM");

	ASSERT_EQ(0, ptx_create_window(self->fd, size, 0, &window));
	ASSERT_EQ(0, ptx_info(self->fd, window.handle, &info));
	EXPECT_EQ(P2PBUF_CREATE_WINDOW, info.flags);
	EXPECT_EQ(VRAM, info.placement);
	EXPECT_EQ(0, ptx_move(self->fd, window.handle, VRAM, 0));
	EXPECT_EQ(-EOPNOTSUPP, ptx_move(self->fd, window.handle, SYSTEM, 0));

	/* It shows whatever is there: an object, while it is there. */
	w = ptx_mmap(self->fd, size, window.mmap_offset);
	ASSERT_NE(NULL, w);
	ptx_fill(w, size, 100);
	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	p = ptx_mmap(self->fd, SIZE, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	ptx_fill(p, SIZE, 9);
	for (at = 0; at < size; at += 4096)
		if (ptx_check(w + at, 4096, 9) == 4096)
			break;
	ASSERT_LT(at, size);
	EXPECT_EQ(SIZE, ptx_check(w + at, SIZE, 9));
	*(volatile __u64 *)(w + at) = 42;
	EXPECT_EQ(42, *(volatile __u64 *)p);

	/* A window on a part, at its own offset. */
	ASSERT_EQ(0, ptx_create_window(self->fd, 8192, at + 4096, &part));
	q = ptx_mmap(self->fd, 8192, part.mmap_offset);
	ASSERT_NE(NULL, q);
	EXPECT_EQ(0, memcmp(q, w + at + 4096, 8192));
	munmap(q, 8192);
	EXPECT_EQ(-ERANGE, ptx_create_window(self->fd, 8192, size - 4096,
					     &part));
	EXPECT_EQ(-ERANGE, ptx_create_window(self->fd, 4096, size, &part));

	/* It is not moved, not cleared and takes no VRAM. */
	ASSERT_EQ(0, ptx_move(self->fd, bo.handle, SYSTEM, 0));
	ptx_fill(w + at, SIZE, 11);
	EXPECT_EQ(42, *(volatile __u64 *)p);
	ASSERT_EQ(0, ptx_device_info(self->fd, &self->info));
	EXPECT_EQ(0, self->info.vram_used);
	munmap(w, size);
	ASSERT_EQ(0, ptx_close(self->fd, window.handle));
	ASSERT_EQ(0, ptx_create_window(self->fd, size, 0, &window));
	w = ptx_mmap(self->fd, size, window.mmap_offset);
	ASSERT_NE(NULL, w);
	EXPECT_EQ(SIZE, ptx_check(w + at, SIZE, 11));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, size, PROT_READ, MAP_PRIVATE,
				   self->fd, window.mmap_offset));
	munmap(w, size);
	munmap(p, SIZE);
}

TEST_F(object, window_needs_privilege)
{
	struct drm_p2pbuf_gem_create bo;

	PT_AS_NOBODY({
		int ret = ptx_create_window(self->fd, 4096, 0, &bo);

		if (ret != -EPERM)
			_exit(1);
		_exit(!!ptx_create(self->fd, 4096, VRAM, 0, &bo));
	});
}

/* fdinfo tells where objects are. */
static long long fdinfo(int fd, const char *key)
{
	char path[64], line[256];
	long long value = -1;
	char unit[8] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, strlen(key)) ||
		    line[strlen(key)] != ':')
			continue;
		if (sscanf(line + strlen(key) + 1, "%lld %7s", &value,
			   unit) == 2)
			value <<= !strcmp(unit, "MiB") ? 20 : 10;
	}
	fclose(f);
	return value;
}

TEST_F(object, fdinfo)
{
	struct drm_p2pbuf_gem_create bo;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	ASSERT_EQ(0, ptx_create(self->fd, 2 * SIZE, VRAM, 0, &bo));
	EXPECT_EQ(3 * SIZE, fdinfo(self->fd, "drm-total-vram"));
	EXPECT_EQ(3 * SIZE, fdinfo(self->fd, "drm-resident-vram"));
	EXPECT_EQ(0, fdinfo(self->fd, "drm-total-system"));
	ASSERT_EQ(0, ptx_move(self->fd, bo.handle, SYSTEM, 0));
	EXPECT_EQ(SIZE, fdinfo(self->fd, "drm-total-vram"));
	EXPECT_EQ(2 * SIZE, fdinfo(self->fd, "drm-total-system"));
}

/* The counter of that name of the region of @fd, -1 without it. */
static long long counter(const struct drm_p2pbuf_device_info *info,
			 const char *name)
{
	char path[96], line[96];
	long long value = -1;
	FILE *f;

	snprintf(path, sizeof(path),
		 "/sys/kernel/debug/dri/%04x:%02x:%02x.%u/counters",
		 info->pci >> 16, info->pci >> 8 & 0xff,
		 info->pci >> 3 & 0x1f, info->pci & 7);
	f = fopen(path, "r");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)) &&
		    line[strlen(name)] == ' ')
			value = atoll(line + strlen(name));
	fclose(f);
	return value;
}

TEST_F(object, debugfs_counts)
{
	static const char * const names[] = {
		"moves", "evictions", "refused_no_space",
		"refused_no_system_place",
	};
	struct drm_p2pbuf_gem_create bo, only, big;
	long long before[ARRAY_SIZE(names)];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		before[i] = counter(&self->info, names[i]);
		if (before[i] < 0)
			SKIP(return, "no debugfs");
	}

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &bo));
	ASSERT_EQ(0, ptx_move(self->fd, bo.handle, SYSTEM, 0));
	ASSERT_EQ(0, ptx_move(self->fd, bo.handle, VRAM, 0));
	ASSERT_EQ(-ENOSPC, ptx_create(self->fd, self->info.vram_size + 4096,
				      VRAM, 0, &big));
	ASSERT_EQ(0, ptx_create(self->fd, 4096, VRAM, P2PBUF_CREATE_VRAM_ONLY,
				&only));
	ASSERT_EQ(-EOPNOTSUPP, ptx_move(self->fd, only.handle, SYSTEM, 0));
	ASSERT_EQ(0, ptx_close(self->fd, only.handle));
	/* Takes all of VRAM from the first. */
	ASSERT_EQ(0, ptx_create(self->fd, self->info.vram_size, VRAM, 0,
				&big));

	EXPECT_EQ(before[0] + 3, counter(&self->info, names[0]));
	EXPECT_EQ(before[1] + 1, counter(&self->info, names[1]));
	EXPECT_EQ(before[2] + 1, counter(&self->info, names[2]));
	EXPECT_EQ(before[3] + 1, counter(&self->info, names[3]));
}

TEST_HARNESS_MAIN
