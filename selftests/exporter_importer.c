// SPDX-License-Identifier: GPL-2.0
/*
 * The exporter against importers of every kind, with data moved by a device.
 *
 * A device's DMA must meet the bytes where they are, so the place they were
 * moved from is poisoned before anything is compared.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_edu.h"
#include "p2pbuf_test_exporter.h"
#include "p2pbuf_test_nobody.h"

#define MIB		(1ULL << 20)
#define SIZE		(4 * MIB)
#define LEN		P2PBUF_EDU_DMA_MAX
#define VRAM		P2PBUF_PLACEMENT_VRAM
#define SYSTEM		P2PBUF_PLACEMENT_SYSTEM
#define POISON		0xdeadbeefcafef00dULL

/* More mappings of one page than dma-debug puts up with by itself. */
#define CROWD		16

/* Importers that cannot have the BAR, whatever the topology. */
static const __u32 far_kinds[] = {
	0,
	P2PBUF_EDU_DYNAMIC,
	P2PBUF_EDU_DYNAMIC | P2PBUF_EDU_P2P,
	P2PBUF_EDU_DYNAMIC | P2PBUF_EDU_REVOCABLE,
};

FIXTURE(importer)
{
	int fd;
	int edu;
	int dmabuf;
	struct drm_p2pbuf_gem_create bo;
	void *cpu;
	/* the device can reach the BAR here */
	bool near;
	/* and what it writes there arrives */
	bool p2p_works;
	/* a window on all of VRAM, to poison it */
	void *window;
	__u64 vram_size;
};

FIXTURE_SETUP(importer)
{
	const char *topology = getenv("P2PBUF_TOPOLOGY");
	struct drm_p2pbuf_gem_create window;
	struct drm_p2pbuf_device_info info;
	__u32 p2p;
	int id;

	self->edu = -1;
	self->fd = ptx_open(0);
	if (self->fd < 0)
		SKIP(return, "no render node of the exporter");
	self->edu = pte_open();
	if (self->edu < 0)
		SKIP(return, "no edu device");
	ASSERT_EQ(0, ptx_device_info(self->fd, &info));
	self->vram_size = info.vram_size;

	ASSERT_EQ(0, ptx_create_window(self->fd, info.vram_size, 0, &window));
	self->window = ptx_mmap(self->fd, info.vram_size, window.mmap_offset);
	ASSERT_NE(NULL, self->window);

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, 0, &self->bo));
	self->cpu = ptx_mmap(self->fd, SIZE, self->bo.mmap_offset);
	ASSERT_NE(NULL, self->cpu);
	ptx_fill(self->cpu, SIZE, 1);
	self->dmabuf = ptx_export(self->fd, self->bo.handle, true);
	ASSERT_LE(0, self->dmabuf);

	id = pte_attach(self->edu, self->dmabuf, P2PBUF_EDU_GOOD, &p2p);
	ASSERT_LE(0, id);
	self->near = p2p;
	ASSERT_EQ(0, pte_detach(self->edu, id));
	/* There the emulated IOMMU swallows what peers write. */
	self->p2p_works = !topology || strcmp(topology, "switch-iommu");
}

FIXTURE_TEARDOWN(importer)
{
	if (self->edu >= 0)
		close(self->edu);
	if (self->fd >= 0)
		close(self->fd);
}

/* Every free byte of VRAM; the object must not be there. */
static void poison_vram(struct _test_data_importer *self)
{
	volatile __u64 *word = self->window;
	__u64 i;

	for (i = 0; i < self->vram_size / 8; i++)
		word[i] = POISON;
}

/* Whatever system memory was freed last is used again. */
static void poison_system(struct _test_data_importer *self)
{
	struct drm_p2pbuf_gem_create bo;
	void *p;

	if (ptx_create(self->fd, 2 * SIZE, SYSTEM, 0, &bo))
		return;
	p = ptx_mmap(self->fd, 2 * SIZE, bo.mmap_offset);
	if (p) {
		memset(p, 0xee, 2 * SIZE);
		munmap(p, 2 * SIZE);
	}
	ptx_close(self->fd, bo.handle);
}

/* The device sees what the CPU wrote and the CPU what the device wrote. */
static void check_data(struct __test_metadata *_metadata,
		       struct _test_data_importer *self, int id, __u64 seed)
{
	static const __u64 offsets[] = { 0, SIZE / 2 - LEN / 2, SIZE - LEN };
	__u64 bytes[LEN / 8];
	unsigned int i;

	if (ptx_placement(self->fd, self->bo.handle) == VRAM && !self->p2p_works)
		return;

	ptx_fill(self->cpu, SIZE, seed);
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		memset(bytes, 0xa5, sizeof(bytes));
		ASSERT_EQ(0, pte_dma_read(self->edu, id, offsets[i], bytes,
					  LEN));
		EXPECT_EQ(0, memcmp(bytes, (char *)self->cpu + offsets[i],
				    LEN));
		EXPECT_EQ(ptx_word(seed, offsets[i] / 8), bytes[0]);
	}

	ptx_fill(bytes, LEN, seed + 1);
	ASSERT_EQ(0, pte_dma_write(self->edu, id, offsets[1], bytes, LEN));
	EXPECT_EQ(0, memcmp(bytes, (char *)self->cpu + offsets[1], LEN));
	/* And nothing else. */
	for (i = 0; i < LEN / 8; i++)
		((volatile __u64 *)self->cpu)[offsets[1] / 8 + i] =
			ptx_word(seed, offsets[1] / 8 + i);
	EXPECT_EQ(SIZE, ptx_check(self->cpu, SIZE, seed));
}

TEST_F(importer, near_maps_vram_in_place)
{
	const char *topology = getenv("P2PBUF_TOPOLOGY");
	struct drm_p2pbuf_gem_info info;
	struct p2pbuf_edu_map map;
	int id;

	if (!self->near)
		SKIP(return, "the device cannot reach the BAR here");

	id = pte_attach(self->edu, self->dmabuf, P2PBUF_EDU_GOOD, NULL);
	ASSERT_LE(0, id);
	ASSERT_EQ(0, pte_map(self->edu, id, &map));
	EXPECT_EQ(VRAM, ptx_placement(self->fd, self->bo.handle));
	EXPECT_EQ(SIZE, map.size);
	EXPECT_EQ(1, map.nents);
	EXPECT_EQ(SIZE, map.longest);
	ASSERT_EQ(0, ptx_info(self->fd, self->bo.handle, &info));
	EXPECT_EQ(1, info.mappings);
	EXPECT_EQ(0, info.pins);

	/* By bus address: what it got lies in the BAR. */
	if (topology && !strcmp(topology, "bus")) {
		const char *pci = getenv("P2PBUF_EXPORTER_PCI");
		unsigned long long start, end;
		char path[96];
		FILE *f;
		int i;

		ASSERT_NE(NULL, pci);
		snprintf(path, sizeof(path),
			 "/sys/bus/pci/devices/%s/resource", pci);
		f = fopen(path, "r");
		ASSERT_NE(NULL, f);
		for (i = 0; i <= 2; i++)
			if (fscanf(f, "%llx %llx %*x", &start, &end) != 2)
				break;
		ASSERT_EQ(3, i);
		fclose(f);
		EXPECT_LE(start, map.addr);
		EXPECT_GE(end, map.addr + SIZE - 1);
	}

	check_data(_metadata, self, id, 10);
}

TEST_F(importer, near_follows_moves)
{
	struct p2pbuf_edu_stat stat;
	__u64 bytes[LEN / 8] = {};
	unsigned int i;
	int id;

	id = pte_attach(self->edu, self->dmabuf, P2PBUF_EDU_GOOD, NULL);
	ASSERT_LE(0, id);
	if (!self->near)
		SKIP(return, "the device cannot reach the BAR here");
	ASSERT_EQ(0, pte_map(self->edu, id, NULL));

	for (i = 0; i < 4; i++) {
		__u32 to = i & 1 ? VRAM : SYSTEM;

		ptx_fill(self->cpu, SIZE, 20 + i);
		ASSERT_EQ(0, ptx_move(self->fd, self->bo.handle, to, 0));
		ASSERT_EQ(0, pte_stat(self->edu, id, &stat));
		EXPECT_EQ(i + 1, stat.invalidations);
		EXPECT_EQ(0, stat.mapped);
		EXPECT_EQ(-ENXIO, pte_dma_read(self->edu, id, 0, bytes, LEN));

		if (to == SYSTEM)
			poison_vram(self);
		else
			poison_system(self);
		EXPECT_EQ(SIZE, ptx_check(self->cpu, SIZE, 20 + i));
		/* Mapping moves nothing: it is near. */
		ASSERT_EQ(0, pte_map(self->edu, id, NULL));
		EXPECT_EQ(to, ptx_placement(self->fd, self->bo.handle));
		check_data(_metadata, self, id, 30 + i);
	}
}

/* One buffer for many importers is what a dma-buf is for. */
TEST_F(importer, crowd_maps_system_memory)
{
	struct drm_p2pbuf_gem_create bo;
	int id[CROWD], dmabuf, i;
	__u64 bytes[LEN / 8];
	void *cpu;

	ASSERT_EQ(0, ptx_create(self->fd, 16 * LEN, SYSTEM, 0, &bo));
	cpu = ptx_mmap(self->fd, 16 * LEN, bo.mmap_offset);
	ASSERT_NE(NULL, cpu);
	ptx_fill(cpu, 16 * LEN, 5);
	dmabuf = ptx_export(self->fd, bo.handle, true);
	ASSERT_LE(0, dmabuf);

	for (i = 0; i < CROWD; i++) {
		id[i] = pte_attach(self->edu, dmabuf, P2PBUF_EDU_GOOD, NULL);
		ASSERT_LE(0, id[i]);
		ASSERT_EQ(0, pte_map(self->edu, id[i], NULL));
	}
	EXPECT_EQ(SYSTEM, ptx_placement(self->fd, bo.handle));
	for (i = 0; i < CROWD; i++) {
		memset(bytes, 0xa5, sizeof(bytes));
		ASSERT_EQ(0, pte_dma_read(self->edu, id[i], i * LEN, bytes,
					  LEN));
		EXPECT_EQ(0, memcmp(bytes, (char *)cpu + i * LEN, LEN));
	}
	for (i = 0; i < CROWD; i++)
		EXPECT_EQ(0, pte_detach(self->edu, id[i]));
	close(dmabuf);
	munmap(cpu, 16 * LEN);
}

TEST_F(importer, far_gets_system_memory)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(far_kinds); i++) {
		struct drm_p2pbuf_gem_info info;
		struct p2pbuf_edu_map map;
		__u32 p2p = 9;
		int id;

		ASSERT_EQ(0, ptx_move(self->fd, self->bo.handle, VRAM, 0));
		ptx_fill(self->cpu, SIZE, 40 + i);
		id = pte_attach(self->edu, self->dmabuf, far_kinds[i], &p2p);
		ASSERT_LE(0, id);
		EXPECT_EQ(0, p2p);
		/* Attached is not mapped. */
		EXPECT_EQ(VRAM, ptx_placement(self->fd, self->bo.handle));

		ASSERT_EQ(0, pte_map(self->edu, id, &map));
		ASSERT_EQ(0, ptx_info(self->fd, self->bo.handle, &info));
		EXPECT_EQ(SYSTEM, info.placement);
		EXPECT_EQ(i + 1, info.evictions);
		/* One that is not dynamic pins when it maps. */
		EXPECT_EQ(!far_kinds[i], info.pins);
		EXPECT_EQ(SIZE, map.size);
		/* No segment is longer than the device takes. */
		EXPECT_GE(65536, map.longest);

		poison_vram(self);
		EXPECT_EQ(SIZE, ptx_check(self->cpu, SIZE, 40 + i));
		EXPECT_EQ(far_kinds[i] ? -EXDEV : -EBUSY,
			  ptx_move(self->fd, self->bo.handle, VRAM, 0));
		if (i < 2)
			check_data(_metadata, self, id, 50 + i);
		ASSERT_EQ(0, pte_detach(self->edu, id));
		ASSERT_EQ(0, ptx_info(self->fd, self->bo.handle, &info));
		EXPECT_EQ(0, info.pins);
	}
}

TEST_F(importer, near_and_far_together)
{
	struct p2pbuf_edu_stat stat;
	int near, far;

	if (!self->near)
		SKIP(return, "the device cannot reach the BAR here");

	near = pte_attach(self->edu, self->dmabuf, P2PBUF_EDU_GOOD, NULL);
	far = pte_attach(self->edu, self->dmabuf, 0, NULL);
	ASSERT_LE(0, near);
	ASSERT_LE(0, far);
	ASSERT_EQ(0, pte_map(self->edu, near, NULL));
	EXPECT_EQ(VRAM, ptx_placement(self->fd, self->bo.handle));
	ptx_fill(self->cpu, SIZE, 60);

	/* The far one drives both to system memory. */
	ASSERT_EQ(0, pte_map(self->edu, far, NULL));
	EXPECT_EQ(SYSTEM, ptx_placement(self->fd, self->bo.handle));
	ASSERT_EQ(0, pte_stat(self->edu, near, &stat));
	EXPECT_EQ(1, stat.invalidations);
	EXPECT_EQ(0, stat.mapped);
	poison_vram(self);
	EXPECT_EQ(SIZE, ptx_check(self->cpu, SIZE, 60));
	ASSERT_EQ(0, pte_map(self->edu, near, NULL));
	EXPECT_EQ(SYSTEM, ptx_placement(self->fd, self->bo.handle));
	check_data(_metadata, self, near, 61);
	/* It pinned when it mapped. */
	EXPECT_EQ(-EBUSY, ptx_move(self->fd, self->bo.handle, VRAM, 0));

	/* When it has gone they may go back. */
	ASSERT_EQ(0, pte_detach(self->edu, far));
	ASSERT_EQ(0, ptx_move(self->fd, self->bo.handle, VRAM, 0));
	ASSERT_EQ(0, pte_stat(self->edu, near, &stat));
	EXPECT_EQ(2, stat.invalidations);
}

TEST_F(importer, no_system_place_refuses_far)
{
	struct drm_p2pbuf_gem_create bo[2];
	unsigned int i, k;
	int dmabuf, id;

	ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM, P2PBUF_CREATE_VRAM_ONLY,
				&bo[0]));
	ASSERT_EQ(0, ptx_create_window(self->fd, SIZE, 0, &bo[1]));
	for (i = 0; i < 2; i++) {
		dmabuf = ptx_export(self->fd, bo[i].handle, true);
		ASSERT_LE(0, dmabuf);
		for (k = 0; k < ARRAY_SIZE(far_kinds); k++)
			EXPECT_EQ(-EREMOTEIO, pte_attach(self->edu, dmabuf,
							 far_kinds[k], NULL));
		id = pte_attach(self->edu, dmabuf, P2PBUF_EDU_GOOD, NULL);
		if (!self->near) {
			EXPECT_EQ(-EREMOTEIO, id);
		} else {
			ASSERT_LE(0, id);
			ASSERT_EQ(0, pte_map(self->edu, id, NULL));
			EXPECT_EQ(VRAM, ptx_placement(self->fd, bo[i].handle));
			ASSERT_EQ(0, pte_detach(self->edu, id));
		}
		close(dmabuf);
	}
}

static bool edu_is_translated(void)
{
	const char *edu = getenv("P2PBUF_EDU_PCI");
	char path[96];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group",
		 edu ? edu : "");
	return !access(path, F_OK);
}

/* A device that reaches the BAR but cannot count up to its address. */
TEST_F(importer, too_few_address_bits)
{
	struct drm_p2pbuf_gem_create only;
	struct p2pbuf_edu_map map;
	int dmabuf, id;
	__u32 p2p;

	close(self->edu);
	self->edu = -1;
	ASSERT_EQ(0, system("modprobe -r p2pbuf_edu"));
	ASSERT_EQ(0, system("modprobe p2pbuf_edu dma_bits=31"));
	self->edu = pte_open();
	ASSERT_LE(0, self->edu);

	id = pte_attach(self->edu, self->dmabuf, P2PBUF_EDU_GOOD, &p2p);
	ASSERT_LE(0, id);
	/* Known without a mapping, so a pin does not hold it in VRAM. */
	if (!edu_is_translated()) {
		ASSERT_EQ(0, p2p);
		ASSERT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_PIN, id));
		ASSERT_EQ(0, pte_map(self->edu, id, &map));
		EXPECT_GT(1ULL << 31, map.addr + map.size - 1);
		ASSERT_EQ(0, pte_unmap(self->edu, id));
		ASSERT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_UNPIN, id));
	}
	ASSERT_EQ(0, pte_map(self->edu, id, &map));
	EXPECT_GT(1ULL << 31, map.addr + map.size - 1);
	check_data(_metadata, self, id, 65);
	/* Behind an IOMMU any address is short. */
	if (ptx_placement(self->fd, self->bo.handle) == SYSTEM) {
		EXPECT_EQ(-EXDEV, ptx_move(self->fd, self->bo.handle, VRAM,
					   0));
		ASSERT_EQ(0, ptx_create(self->fd, SIZE, VRAM,
					P2PBUF_CREATE_VRAM_ONLY, &only));
		dmabuf = ptx_export(self->fd, only.handle, true);
		ASSERT_LE(0, dmabuf);
		id = pte_attach(self->edu, dmabuf, P2PBUF_EDU_GOOD, &p2p);
		if (id >= 0)
			id = pte_map(self->edu, id, NULL);
		EXPECT_EQ(-EREMOTEIO, id);
		close(dmabuf);
	}

	close(self->edu);
	self->edu = -1;
	ASSERT_EQ(0, system("modprobe -r p2pbuf_edu"));
}

TEST_F(importer, window_data)
{
	struct drm_p2pbuf_gem_create bo;
	__u64 bytes[LEN / 8], at = 3 * 4096;
	int dmabuf, id;
	char *p;

	if (!self->near || !self->p2p_works)
		SKIP(return, "the device cannot reach the BAR here");

	ASSERT_EQ(0, ptx_move(self->fd, self->bo.handle, SYSTEM, 0));
	ASSERT_EQ(0, ptx_create_window(self->fd, SIZE, MIB, &bo));
	p = ptx_mmap(self->fd, SIZE, bo.mmap_offset);
	ASSERT_NE(NULL, p);
	ptx_fill(p, SIZE, 70);
	dmabuf = ptx_export(self->fd, bo.handle, true);
	ASSERT_LE(0, dmabuf);
	id = pte_attach(self->edu, dmabuf, P2PBUF_EDU_GOOD, NULL);
	ASSERT_LE(0, id);
	ASSERT_EQ(0, pte_map(self->edu, id, NULL));
	ASSERT_EQ(0, pte_dma_read(self->edu, id, at, bytes, LEN));
	EXPECT_EQ(0, memcmp(bytes, p + at, LEN));
	ptx_fill(bytes, LEN, 71);
	ASSERT_EQ(0, pte_dma_write(self->edu, id, at, bytes, LEN));
	EXPECT_EQ(0, memcmp(bytes, p + at, LEN));
	EXPECT_EQ(0, memcmp(bytes, (char *)self->window + MIB + at, LEN));
	munmap(p, SIZE);
	close(dmabuf);
}

TEST_F(importer, move_waits_for_fences)
{
	struct p2pbuf_edu_stat stat;
	int id;

	id = pte_attach(self->edu, self->dmabuf, P2PBUF_EDU_GOOD, NULL);
	ASSERT_LE(0, id);
	ASSERT_EQ(0, pte_map(self->edu, id, NULL));
	ASSERT_EQ(0, ptx_move(self->fd, self->bo.handle,
			      self->near ? VRAM : SYSTEM, 0));

	/* Not even a move that was not going to wait changes anything. */
	ASSERT_EQ(0, pte_fence(self->edu, id, 60000));
	if (self->near) {
		ASSERT_EQ(-EBUSY, ptx_move(self->fd, self->bo.handle, SYSTEM,
					   P2PBUF_MOVE_NOWAIT));
		EXPECT_EQ(VRAM, ptx_placement(self->fd, self->bo.handle));
		/* The importer was told to be ready, and finds it again. */
		ASSERT_EQ(0, pte_stat(self->edu, id, &stat));
		EXPECT_EQ(1, stat.fences);
		if (!stat.mapped)
			ASSERT_EQ(0, pte_map(self->edu, id, NULL));
		EXPECT_EQ(SIZE, ptx_check(self->cpu, SIZE, 1));
	}
	/* Closing the importer ends its fences. */
	close(self->edu);
	self->edu = pte_open();
	ASSERT_LE(0, self->edu);

	ASSERT_EQ(0, ptx_move(self->fd, self->bo.handle, VRAM, 0));
	id = pte_attach(self->edu, self->dmabuf, P2PBUF_EDU_GOOD, NULL);
	ASSERT_LE(0, id);
	ASSERT_EQ(0, pte_fence(self->edu, id, 300));
	ASSERT_EQ(0, ptx_move(self->fd, self->bo.handle, SYSTEM, 0));
	ASSERT_EQ(0, pte_stat(self->edu, id, &stat));
	EXPECT_EQ(0, stat.fences);
	EXPECT_EQ(SIZE, ptx_check(self->cpu, SIZE, 1));
}

/* Nor for the importers of others that would have to make room. */
TEST_F(importer, nowait_does_not_wait_for_victims)
{
	struct drm_p2pbuf_gem_create big;
	int id;

	id = pte_attach(self->edu, self->dmabuf, P2PBUF_EDU_GOOD, NULL);
	ASSERT_LE(0, id);
	ASSERT_EQ(0, pte_fence(self->edu, id, 60000));
	ASSERT_EQ(0, ptx_create(self->fd, self->vram_size, SYSTEM, 0, &big));
	EXPECT_EQ(-EBUSY, ptx_move(self->fd, big.handle, VRAM,
				   P2PBUF_MOVE_NOWAIT));
	EXPECT_EQ(SYSTEM, ptx_placement(self->fd, big.handle));
	EXPECT_EQ(VRAM, ptx_placement(self->fd, self->bo.handle));
	EXPECT_EQ(SIZE, ptx_check(self->cpu, SIZE, 1));
	close(self->edu);
	self->edu = -1;
	EXPECT_EQ(0, ptx_move(self->fd, big.handle, VRAM,
			      P2PBUF_MOVE_NOWAIT));
	EXPECT_EQ(SYSTEM, ptx_placement(self->fd, self->bo.handle));
	EXPECT_EQ(SIZE, ptx_check(self->cpu, SIZE, 1));
}

static void on_alarm(int sig)
{
	(void)sig;
}

TEST_F(importer, interrupted_move_changes_nothing)
{
	struct sigaction act = { .sa_handler = on_alarm };
	struct drm_p2pbuf_gem_move move = {
		.handle = self->bo.handle,
		.placement = SYSTEM,
	};
	struct itimerval soon = { .it_value.tv_usec = 200000 };
	struct drm_p2pbuf_gem_info info;
	int id;

	ASSERT_EQ(0, sigaction(SIGALRM, &act, NULL));
	id = pte_attach(self->edu, self->dmabuf, P2PBUF_EDU_GOOD, NULL);
	ASSERT_LE(0, id);
	ASSERT_EQ(0, pte_fence(self->edu, id, 60000));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &soon, NULL));
	EXPECT_EQ(-1, ioctl(self->fd, DRM_IOCTL_P2PBUF_GEM_MOVE, &move));
	EXPECT_EQ(EINTR, errno);
	ASSERT_EQ(0, ptx_info(self->fd, self->bo.handle, &info));
	EXPECT_EQ(VRAM, info.placement);
	EXPECT_EQ(1, info.generation);
	EXPECT_EQ(SIZE, ptx_check(self->cpu, SIZE, 1));
}

#define TTM_SHRINK	"/sys/kernel/debug/ttm/tt_shrink"

/* Make TTM swap out one object, whichever; pages, 0 for none, or -errno. */
static int swap_out_one(void)
{
	char text[32] = "";
	int fd = open(TTM_SHRINK, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return -errno;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	return len < 0 ? -errno : atoi(text);
}

/*
 * The kernel is short of memory and swaps system memory out. Importers must
 * be told, and must find the bytes when they map again.
 */
TEST_F(importer, swapped_out)
{
	struct p2pbuf_edu_stat stat = {};
	struct drm_p2pbuf_gem_info info;
	int id, tries, ret = 1;

	if (access(TTM_SHRINK, R_OK))
		SKIP(return, "no " TTM_SHRINK);

	ASSERT_EQ(0, ptx_move(self->fd, self->bo.handle, SYSTEM, 0));
	id = pte_attach(self->edu, self->dmabuf, P2PBUF_EDU_GOOD, NULL);
	ASSERT_LE(0, id);
	ASSERT_EQ(0, pte_map(self->edu, id, NULL));
	ptx_fill(self->cpu, SIZE, 100);

	for (tries = 0; tries < 64 && ret > 0 && !stat.invalidations;
	     tries++) {
		ret = swap_out_one();
		ASSERT_EQ(0, pte_stat(self->edu, id, &stat));
	}
	ASSERT_EQ(1, stat.invalidations);
	EXPECT_EQ(0, stat.mapped);
	poison_system(self);

	/* To users it is where it was. */
	ASSERT_EQ(0, ptx_info(self->fd, self->bo.handle, &info));
	EXPECT_EQ(SYSTEM, info.placement);
	EXPECT_EQ(2, info.generation);
	ASSERT_EQ(0, pte_map(self->edu, id, NULL));
	EXPECT_EQ(SIZE, ptx_check(self->cpu, SIZE, 100));
	check_data(_metadata, self, id, 101);

	/* Pinned it stays. */
	ASSERT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_PIN, id));
	for (tries = 0; tries < 64 && swap_out_one() > 0; tries++)
		;
	ASSERT_EQ(0, pte_stat(self->edu, id, &stat));
	EXPECT_EQ(1, stat.invalidations);
	poison_system(self);
	check_data(_metadata, self, id, 102);
	ASSERT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_UNPIN, id));

	/* Not pinned it goes again, and from there straight to VRAM. */
	for (tries = 0; tries < 64 && swap_out_one() > 0; tries++)
		;
	ASSERT_EQ(0, pte_stat(self->edu, id, &stat));
	EXPECT_EQ(2, stat.invalidations);
	poison_system(self);
	ASSERT_EQ(0, pte_detach(self->edu, id));
	ASSERT_EQ(0, ptx_move(self->fd, self->bo.handle, VRAM, 0));
	EXPECT_EQ(SIZE, ptx_check(self->cpu, SIZE, 102));
}

TEST_F(importer, moves_under_dma)
{
	struct pte_loop loop = { .fd = self->edu, .offset = MIB };
	pthread_t thread;
	unsigned int i;

	if (!self->near || !self->p2p_works)
		SKIP(return, "the device cannot reach the BAR here");

	loop.id = pte_attach(self->edu, self->dmabuf, P2PBUF_EDU_GOOD, NULL);
	ASSERT_LE(0, loop.id);
	ASSERT_EQ(0, pte_map(self->edu, loop.id, NULL));
	ASSERT_EQ(0, pthread_create(&thread, NULL, pte_loop_run, &loop));
	for (i = 0; i < 12; i++) {
		__u32 to = i & 1 ? VRAM : SYSTEM;

		ASSERT_EQ(0, ptx_move(self->fd, self->bo.handle, to, 0));
		if (to == SYSTEM)
			poison_vram(self);
	}
	__atomic_store_n(&loop.stop, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);

	EXPECT_EQ(0, loop.error);
	EXPECT_EQ(0, loop.wrong);
	EXPECT_LT(0, loop.done);
	EXPECT_LT(0, loop.remapped);
	/* Outside the device's place the first bytes are all there. */
	EXPECT_EQ(MIB, ptx_check(self->cpu, MIB, 1));
}

TEST_F(importer, pinned_in_vram_stays)
{
	struct drm_p2pbuf_device_info device;
	struct drm_p2pbuf_gem_create bo;
	struct drm_p2pbuf_gem_info info;
	unsigned int i;
	int id;

	if (!self->near)
		SKIP(return, "the device cannot reach the BAR here");

	id = pte_attach(self->edu, self->dmabuf, P2PBUF_EDU_GOOD, NULL);
	ASSERT_LE(0, id);
	ASSERT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_PIN, id));
	ASSERT_EQ(0, pte_map(self->edu, id, NULL));
	ASSERT_EQ(0, ptx_info(self->fd, self->bo.handle, &info));
	EXPECT_EQ(1, info.pins);
	EXPECT_EQ(VRAM, info.placement);
	ASSERT_EQ(0, ptx_device_info(self->fd, &device));
	EXPECT_EQ(SIZE, device.pin_used);

	EXPECT_EQ(-EBUSY, ptx_move(self->fd, self->bo.handle, SYSTEM, 0));
	EXPECT_EQ(0, ptx_move(self->fd, self->bo.handle, VRAM, 0));
	/* Who would need it elsewhere is not let in. */
	for (i = 0; i < ARRAY_SIZE(far_kinds); i++)
		EXPECT_EQ(-EBUSY, pte_attach(self->edu, self->dmabuf,
					     far_kinds[i], NULL));
	/* Nor can anybody who needs all of VRAM drive it out. */
	EXPECT_EQ(-ENOSPC, ptx_create(self->fd, self->vram_size, VRAM, 0,
				      &bo));
	EXPECT_EQ(VRAM, ptx_placement(self->fd, self->bo.handle));
	EXPECT_EQ(SIZE, ptx_check(self->cpu, SIZE, 1));

	ASSERT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_UNPIN, id));
	ASSERT_EQ(0, ptx_device_info(self->fd, &device));
	EXPECT_EQ(0, device.pin_used);
	EXPECT_EQ(0, ptx_move(self->fd, self->bo.handle, SYSTEM, 0));
}

TEST_F(importer, pin_with_far_attached_is_in_system)
{
	struct drm_p2pbuf_gem_info info;
	int id, far;

	far = pte_attach(self->edu, self->dmabuf, 0, NULL);
	id = pte_attach(self->edu, self->dmabuf, P2PBUF_EDU_GOOD, NULL);
	ASSERT_LE(0, far);
	ASSERT_LE(0, id);
	ASSERT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_PIN, id));
	ASSERT_EQ(0, ptx_info(self->fd, self->bo.handle, &info));
	EXPECT_EQ(SYSTEM, info.placement);
	EXPECT_EQ(1, info.pins);
	/* So the far one can still map. */
	ASSERT_EQ(0, pte_map(self->edu, far, NULL));
	ASSERT_EQ(0, ptx_info(self->fd, self->bo.handle, &info));
	EXPECT_EQ(2, info.pins);
	EXPECT_EQ(-EBUSY, ptx_move(self->fd, self->bo.handle, VRAM, 0));
	EXPECT_EQ(SIZE, ptx_check(self->cpu, SIZE, 1));
}

TEST_F(importer, vmapped_stays)
{
	static const __u32 places[] = { VRAM, SYSTEM };
	struct drm_p2pbuf_gem_create bo;
	__u64 bytes[LEN / 8];
	unsigned int i;
	int id;

	id = pte_attach(self->edu, self->dmabuf, P2PBUF_EDU_GOOD, NULL);
	ASSERT_LE(0, id);
	if (!self->near)
		SKIP(return, "the device cannot reach the BAR here");

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		ASSERT_EQ(0, ptx_move(self->fd, self->bo.handle, places[i],
				      0));
		ptx_fill(self->cpu, SIZE, 80 + i);
		ASSERT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_VMAP, id));
		EXPECT_EQ(places[i], ptx_placement(self->fd, self->bo.handle));
		EXPECT_EQ(-EBUSY, ptx_move(self->fd, self->bo.handle,
					   places[!i], 0));
		/* Nor evicted. */
		if (places[i] == VRAM)
			EXPECT_EQ(-ENOSPC, ptx_create(self->fd,
						      self->vram_size, VRAM,
						      0, &bo));
		memset(bytes, 0xa5, sizeof(bytes));
		ASSERT_EQ(0, pte_copy(self->edu, id, P2PBUF_EDU_CPU, MIB,
				      bytes, LEN, 0));
		EXPECT_EQ(0, memcmp(bytes, (char *)self->cpu + MIB, LEN));
		ptx_fill(bytes, LEN, 90);
		ASSERT_EQ(0, pte_copy(self->edu, id, P2PBUF_EDU_CPU, MIB,
				      bytes, LEN, 1));
		EXPECT_EQ(0, memcmp(bytes, (char *)self->cpu + MIB, LEN));
		ASSERT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_VUNMAP, id));
	}
	EXPECT_EQ(0, ptx_move(self->fd, self->bo.handle, VRAM, 0));
}

TEST_F(importer, vmap_with_far_attached_is_in_system)
{
	int id, far;

	far = pte_attach(self->edu, self->dmabuf, 0, NULL);
	id = pte_attach(self->edu, self->dmabuf, P2PBUF_EDU_DYNAMIC |
			P2PBUF_EDU_REVOCABLE, NULL);
	ASSERT_LE(0, far);
	ASSERT_LE(0, id);
	ASSERT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_VMAP, id));
	EXPECT_EQ(SYSTEM, ptx_placement(self->fd, self->bo.handle));
	ASSERT_EQ(0, pte_map(self->edu, far, NULL));
}

/*
 * The exporting program closes its handle; only importers hold the object. It
 * must still tell them when it moves.
 */
TEST_F(importer, told_after_the_handle_is_closed)
{
	struct drm_p2pbuf_gem_create big;
	struct p2pbuf_edu_stat stat;
	__u64 bytes[LEN / 8];
	int id;

	if (!self->near || !self->p2p_works)
		SKIP(return, "the device cannot reach the BAR here");

	id = pte_attach(self->edu, self->dmabuf, P2PBUF_EDU_GOOD, NULL);
	ASSERT_LE(0, id);
	ASSERT_EQ(0, pte_map(self->edu, id, NULL));
	ASSERT_EQ(0, ptx_close(self->fd, self->bo.handle));

	/* Whoever needs all of VRAM evicts it. */
	ASSERT_EQ(0, ptx_create(self->fd, self->vram_size, VRAM, 0, &big));
	ASSERT_EQ(0, pte_stat(self->edu, id, &stat));
	EXPECT_EQ(1, stat.invalidations);
	EXPECT_EQ(0, stat.mapped);
	poison_vram(self);
	ASSERT_EQ(0, pte_map(self->edu, id, NULL));
	ASSERT_EQ(0, pte_dma_read(self->edu, id, MIB, bytes, LEN));
	EXPECT_EQ(0, memcmp(bytes, (char *)self->cpu + MIB, LEN));
	EXPECT_EQ(ptx_word(1, MIB / 8), bytes[0]);
}

TEST_F(importer, pin_limit_of_vram)
{
	struct drm_p2pbuf_device_info info;
	struct drm_p2pbuf_gem_create bo;
	int dmabuf, id, small;

	if (!self->near)
		SKIP(return, "the device cannot reach the BAR here");

	ASSERT_EQ(0, ptx_device_info(self->fd, &info));
	ASSERT_EQ(0, ptx_create(self->fd, info.pin_limit, VRAM, 0, &bo));
	dmabuf = ptx_export(self->fd, bo.handle, true);
	ASSERT_LE(0, dmabuf);
	id = pte_attach(self->edu, dmabuf, P2PBUF_EDU_GOOD, NULL);
	small = pte_attach(self->edu, self->dmabuf, P2PBUF_EDU_GOOD, NULL);
	ASSERT_LE(0, id);
	ASSERT_LE(0, small);

	PT_AS_NOBODY({
		/* As much as the limit, not a page more, and again. */
		if (pte_ioctl_id(self->edu, P2PBUF_EDU_PIN, id))
			_exit(1);
		if (pte_ioctl_id(self->edu, P2PBUF_EDU_PIN, small) != -EDQUOT)
			_exit(2);
		if (ptx_create(self->fd, 4096, VRAM, P2PBUF_CREATE_VRAM_ONLY,
			       &bo) != -EDQUOT)
			_exit(3);
		if (ptx_device_info(self->fd, &info) ||
		    info.pin_used != info.pin_limit)
			_exit(4);
		if (pte_ioctl_id(self->edu, P2PBUF_EDU_UNPIN, id) ||
		    pte_ioctl_id(self->edu, P2PBUF_EDU_PIN, small))
			_exit(5);
		if (ptx_create(self->fd, 4096, VRAM, P2PBUF_CREATE_VRAM_ONLY,
			       &bo))
			_exit(6);
		if (ptx_device_info(self->fd, &info) ||
		    info.pin_used != SIZE + 4096 ||
		    ptx_close(self->fd, bo.handle))
			_exit(7);
		/* Whoever unpins, the pinner's account is relieved. */
		_exit(0);
	});
	ASSERT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_UNPIN, small));
	PT_AS_NOBODY({
		if (ptx_device_info(self->fd, &info) || info.pin_used)
			_exit(1);
		_exit(0);
	});

	/* CAP_SYS_RESOURCE overrides. */
	EXPECT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_PIN, id));
	EXPECT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_PIN, small));
	close(dmabuf);
}

TEST_F(importer, pin_limit_of_system)
{
	struct rlimit little = { 64 * 1024, 64 * 1024 };
	struct rlimit enough = { 2 * SIZE, 2 * SIZE };
	int id;

	id = pte_attach(self->edu, self->dmabuf, 0, NULL);
	ASSERT_LE(0, id);
	PT_AS_NOBODY({
		if (setrlimit(RLIMIT_MEMLOCK, &little))
			_exit(1);
		if (pte_map(self->edu, id, NULL) != -EDQUOT)
			_exit(2);
		_exit(0);
	});
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &enough));
	PT_AS_NOBODY({
		/* Twice: what was charged is given back. */
		if (pte_map(self->edu, id, NULL) ||
		    pte_unmap(self->edu, id) ||
		    pte_map(self->edu, id, NULL))
			_exit(3);
		_exit(0);
	});
	EXPECT_EQ(SIZE, ptx_check(self->cpu, SIZE, 1));
}

TEST_HARNESS_MAIN
