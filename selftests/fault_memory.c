// SPDX-License-Identifier: GPL-2.0
/*
 * Memory runs out while data moves: VRAM, so that nothing finds room there, and
 * host memory, so that the kernel swaps. What is refused says so and leaves
 * everything as it was; no byte changes.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <time.h>
#include <liburing.h>

#include "p2pbuf_test_load.h"

#define SIZE		(8 * PTN_MIB)
#define PIECE		(2 * PTN_MIB)
#define PIECES_MAX	512

FIXTURE(memory) {
	struct ptn_rig rig;
	struct ptn_load load;
	int stop;
	pthread_t thread;
};

FIXTURE_SETUP(memory)
{
	PTN_RIG_OPEN(&self->rig, .kind = PTN_VRAM, .size = SIZE);
	ASSERT_EQ(0, ptn_load_init(&self->load, &self->rig, 16, 65536,
				   1UL << 40));
	self->load.stop = &self->stop;
}

FIXTURE_TEARDOWN(memory)
{
	ptn_rig_close(&self->rig);
}

static void start_load(struct __test_metadata *_metadata,
		       struct _test_data_memory *self)
{
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, ptn_load_thread,
				    &self->load));
}

/* Nothing failed, all of it was right, and it did get on. */
static void end_load(struct __test_metadata *_metadata,
		     struct _test_data_memory *self)
{
	void *ret;

	__atomic_store_n(&self->stop, 1, __ATOMIC_RELEASE);
	ASSERT_EQ(0, pthread_join(self->thread, &ret));
	EXPECT_EQ(NULL, ret);
	EXPECT_EQ(0, self->load.failed)
		TH_LOG("first: %s", strerror(-self->load.error));
	EXPECT_EQ(0, self->load.wrong);
	EXPECT_LT(0, self->load.done);
	printf("# %lu commands\n", self->load.done);
}

/* ---- VRAM -------------------------------------------------------------------- */

/*
 * Objects that cannot leave take all of VRAM. The load's buffer is pushed out
 * and cannot come back, its I/O goes on in host memory, and the first room
 * that there is again will do.
 */
TEST_F_TIMEOUT(memory, vram_full, 90)
{
	struct drm_p2pbuf_gem_create piece[PIECES_MAX], no;
	struct drm_p2pbuf_device_info info;
	struct ptn_buffer *b = &self->rig.buffer;
	int node = ptx_open(0), nr, i, ret = 0;

	ASSERT_LE(0, node);
	start_load(_metadata, self);
	for (nr = 0; nr < PIECES_MAX; nr++) {
		ret = ptx_create(node, PIECE, P2PBUF_PLACEMENT_VRAM,
				 P2PBUF_CREATE_VRAM_ONLY, &piece[nr]);
		if (ret)
			break;
	}
	EXPECT_EQ(-ENOSPC, ret);
	EXPECT_EQ(P2PBUF_PLACEMENT_SYSTEM, ptx_placement(b->node, b->handle));
	for (i = 0; i < 20; i++) {
		EXPECT_EQ(-ENOSPC, ptx_move(b->node, b->handle,
					    P2PBUF_PLACEMENT_VRAM, 0));
		EXPECT_EQ(-ENOSPC, ptx_create(node, PIECE,
					      P2PBUF_PLACEMENT_VRAM,
					      P2PBUF_CREATE_VRAM_ONLY, &no));
	}
	EXPECT_EQ(P2PBUF_PLACEMENT_SYSTEM, ptx_placement(b->node, b->handle));
	ASSERT_EQ(0, ptx_device_info(node, &info));
	EXPECT_LE(info.vram_size - info.vram_used, PIECE);

	/* Room for it, and not a piece more. */
	for (i = 0; i < (int)(SIZE / PIECE) && i < nr; i++)
		EXPECT_EQ(0, ptx_close(node, piece[i].handle));
	EXPECT_EQ(0, ptx_move(b->node, b->handle, P2PBUF_PLACEMENT_VRAM, 0));
	EXPECT_EQ(P2PBUF_PLACEMENT_VRAM, ptx_placement(b->node, b->handle));
	end_load(_metadata, self);
	close(node);
}

/* ---- host memory --------------------------------------------------------------- */

#define SWAP_DISK	"second"

/* The header that mkswap writes: version 1, the number of the last page. */
static int swap_on(struct ptn_disk *disk, char *path)
{
	static char page[4096] __attribute__((aligned(4096)));
	__u32 *header = (void *)(page + 1024);

	if (disk->size < 64 * PTN_MIB)
		return -ENOSPC;
	header[0] = 1;
	header[1] = disk->size / sizeof(page) - 1;
	memcpy(page + sizeof(page) - 10, "SWAPSPACE2", 10);
	if (pwrite(disk->direct, page, sizeof(page), 0) != sizeof(page))
		return -errno;
	sprintf(path, "/dev/%s", disk->name);
	return swapon(path, 0) ? -errno : 0;
}

static __u64 meminfo(const char *what)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128], name[64];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63[^:]: %llu", name, &kib) == 2 &&
		    !strcmp(name, what))
			break;
	if (f)
		fclose(f);
	return kib * PTN_KIB;
}

/* Takes more than there is, and uses all of it again and again. */
static void hog(__u64 bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	__u64 i, value;

	if (p == MAP_FAILED)
		_exit(1);
	for (value = 1;; value++)
		for (i = 0; i < bytes; i += 4096)
			*(volatile __u64 *)(p + i) = value + i;
}

static int write_text(const char *path, const char *text)
{
	return ptk_write(path, text);
}

/*
 * The buffer moves between VRAM and host memory while the kernel looks for
 * pages everywhere. A move that finds none may say so; nothing else may fail.
 */
TEST_F_TIMEOUT(memory, swapping, 180)
{
	struct ptn_buffer *b = &self->rig.buffer;
	__u64 swap, used = 0;
	int round, ret, status, refused = 0;
	time_t start = time(NULL);
	struct ptn_disk disk;
	char path[NAME_MAX + 8];
	pid_t pid;

	if (ptn_disk_open(SWAP_DISK, &disk))
		SKIP(return, "no second drive to swap to");
	if (access("/proc/swaps", R_OK))
		SKIP(return, "this kernel does not swap");
	ASSERT_EQ(0, swap_on(&disk, path));
	swap = meminfo("SwapFree");
	ASSERT_LT(0, swap);
	/* Whoever has to die for want of memory, not the test. */
	ASSERT_EQ(0, write_text("/proc/self/oom_score_adj", "-1000"));
	start_load(_metadata, self);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		write_text("/proc/self/oom_score_adj", "1000");
		hog(meminfo("MemAvailable") + 96 * PTN_MIB);
	}
	/* On a slow machine a little of it has to do, and comes late. */
	for (round = 0; used < 48 * PTN_MIB &&
	     time(NULL) - start < (used ? 45 : 120) * ptk_slow(); round++) {
		ret = ptx_move(b->node, b->handle, round & 1 ?
			       P2PBUF_PLACEMENT_VRAM : P2PBUF_PLACEMENT_SYSTEM,
			       0);
		refused += ret == -ENOMEM;
		EXPECT_TRUE(!ret || ret == -ENOMEM)
			TH_LOG("move: %s", strerror(-ret));
		usleep(50000);
		if (swap - meminfo("SwapFree") > used)
			used = swap - meminfo("SwapFree");
	}
	/* And some more of it, now that it swaps. */
	for (round = 0; round < 10; round++) {
		ret = ptx_move(b->node, b->handle, round & 1 ?
			       P2PBUF_PLACEMENT_VRAM : P2PBUF_PLACEMENT_SYSTEM,
			       0);
		EXPECT_TRUE(!ret || ret == -ENOMEM);
		refused += ret == -ENOMEM;
	}
	end_load(_metadata, self);
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, swapoff(path));
	ptn_disk_close(&disk);
	printf("# %llu MiB swapped, %d moves refused\n", used / PTN_MIB,
	       refused);
	EXPECT_LT(0, used);
}

TEST_HARNESS_MAIN
