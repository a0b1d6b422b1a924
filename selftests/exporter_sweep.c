// SPDX-License-Identifier: GPL-2.0
/*
 * Failure sweep over the exporter: create, export, move out, move in and evict,
 * attach, map and pin by importers of each kind, move and evict of what
 * importers have mapped, page faults of the CPU, the registration of fixed
 * buffers and the birth of a region are each played again and again with the
 * first, the second, the third ... thing that can fail failing. A call that
 * fails changed nothing: the object is where it was or where it was to go, its
 * bytes are right, no VRAM, pin or mapping is lost, and the next try works.
 *
 * Needs a kernel that injects faults; on others it is skipped.
 */
#include <liburing.h>

#include "p2pbuf_test_edu.h"
#include "p2pbuf_test_paged.h"
#include "p2pbuf_test_sweep.h"
#include "p2pbuf_test_until.h"

#define SIZE		(256ULL << 10)
#define VRAM		P2PBUF_PLACEMENT_VRAM
#define SYSTEM		P2PBUF_PLACEMENT_SYSTEM

/*
 * An ioctl's argument is copied by DRM, which the exporter calls for that: when
 * it cannot be written back, the call has been carried out, and the file keeps
 * what it made.
 */
static int spare_arguments(void)
{
	int ret = pts_attr("fail_usercopy", "require-start", "1");

	return ret ? ret : pts_attr("fail_usercopy", "require-end", "1");
}

/* NULL, or why not. Only what the exporter calls fails, not what calls it. */
static const char *impossible(void)
{
	const char *why = pts_impossible();

	if (!why && pts_only("p2pbuf_exporter"))
		why = "no exporter";
	if (!why && spare_arguments())
		why = "this kernel cannot spare DRM's copies";
	return why;
}

/* The second region, which is smaller and quicker to empty, or the only one. */
static int find_region(struct ptr_region *region)
{
	return ptr_find(1, region) ? ptr_find(0, region) : 0;
}

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
	const char *why = impossible();
	struct drm_p2pbuf_device_info info;
	struct ptr_region region;

	self->fd = -1;
	if (why)
		SKIP(return, "%s", why);
	if (find_region(&region))
		SKIP(return, "no render node of the exporter");
	self->fd = ptr_open(&region);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ptx_device_info(self->fd, &info));
	self->vram_size = info.vram_size;
	self->vram_used = info.vram_used;
}

FIXTURE_TEARDOWN(sweep)
{
	if (self->fd >= 0)
		close(self->fd);
}

/* Whoever had VRAM before has it now, and another point. */
static bool next_point(struct __test_metadata *_metadata,
		       struct _test_data_sweep *self, struct pts_point *p)
{
	EXPECT_EQ(self->vram_used, vram_used(self->fd))
		TH_LOG("%s, point %u", p->what, p->nth);
	return pts_next(_metadata, p);
}

static void judge(struct __test_metadata *_metadata, struct pts_point *p,
		  int ret)
{
	ret = ret > 0 ? 0 : ret;
	pts_judge(_metadata, p, ret, pts_expected(ret));
}

/* @call with the nth thing failing; ret is what it returned. */
#define HIT(p, call) do {						\
	pts_arm((p).nth);						\
	ret = (call);							\
	judge(_metadata, &(p), ret);					\
} while (0)

static int object_create(int fd, struct ptx_object *o, __u32 placement)
{
	return ptx_object_create(fd, SIZE, placement, 0, 7, o);
}

static void object_close(int fd, struct ptx_object *o)
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
		struct pts_point p = { .what = i ? "create in host memory" :
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
	struct pts_point p = { .what = "export" };
	struct ptx_object o;
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
	struct ptx_object o;
	unsigned int i;
	int ret;

	for (i = 0; i < 2; i++) {
		struct pts_point p = { .what = moves[i].what };

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
	struct pts_point p = { .what = "evict" };
	struct drm_p2pbuf_gem_create all;
	struct drm_p2pbuf_gem_info info;
	struct ptx_object o;
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

/* ---- importers ------------------------------------------------------------------------ */

#define LEN		P2PBUF_EDU_DMA_MAX

/*
 * The edu device, which can be any kind of importer but is slow; and where
 * memory moves a drive as well, which is the core's kind and quick.
 */
FIXTURE(importer) {
	struct ptr_region region;
	struct ptn_disk disk;
	struct io_uring ring;
	__u64 vram_size;
	__u64 vram_used;
	char *scratch;
	int fd;
	int edu;
	int node;
	int lines;		/* of PTS_ATTACHMENTS, anyhow */
	struct ptx_object o;
	int dmabuf;
	int id;			/* of the edu's attachment */
};

/* checkpatch takes a type in a macro for a factor. */
#define IMPORTER FIXTURE_DATA(importer)

/**
 * struct kind - of importers
 * @what: the call under test, and whose
 * @flags: P2PBUF_EDU_*
 * @placement: where they find the object
 */
struct kind {
	const char *what;
	__u32 flags;
	__u32 placement;
};

#define FAR	(P2PBUF_EDU_DYNAMIC | P2PBUF_EDU_REVOCABLE)
#define KINDS(call) {							\
	{ call " by a near one, in VRAM", P2PBUF_EDU_GOOD, VRAM },	\
	{ call " by a near one, in host memory", P2PBUF_EDU_GOOD, SYSTEM }, \
	{ call " by a far one, in VRAM", FAR, VRAM },			\
	{ call " by one that pins", 0, VRAM },				\
}

#define EXPECT_USAGE(pins_, far_, vram_) do {				\
	struct pts_usage _u = pts_usage(self->region.name);		\
									\
	EXPECT_EQ(pins_, _u.pins);					\
	EXPECT_EQ(far_, _u.far);					\
	EXPECT_EQ(vram_, _u.vram);					\
} while (0)

/* NULL, or what there is not. */
static const char *importer_open(IMPORTER *self)
{
	struct drm_p2pbuf_device_info info;

	if (find_region(&self->region))
		return "no render node of the exporter";
	self->fd = ptr_open(&self->region);
	if (self->fd < 0 || ptx_device_info(self->fd, &info))
		return "no file on the region";
	self->vram_size = info.vram_size;
	self->vram_used = info.vram_used;
	self->edu = pte_open();
	if (self->edu < 0)
		return "no edu device";
	self->node = ptn_open();
	if (self->node < 0)
		return "no " PTN_NODE;
	if (ptn_disk_open("main", &self->disk))
		return "no drive with serial number main";
	return NULL;
}

FIXTURE_SETUP(importer)
{
	const char *why = impossible();

	*self = (IMPORTER){ .fd = -1, .edu = -1, .node = -1 };
	self->disk = (struct ptn_disk){ .fd = -1, .direct = -1 };
	if (!why)
		why = importer_open(self);
	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, io_uring_queue_init(8, &self->ring, 0));
	self->scratch = ptn_memory(SIZE);
	ASSERT_NE(NULL, self->scratch);
	self->lines = ptk_lines(PTS_ATTACHMENTS);
	ASSERT_LE(0, self->lines);
	EXPECT_USAGE(0, 0, 0);
	/* What an importer calls: dma-buf and the exporter, too. */
	ASSERT_EQ(0, pts_only("p2pbuf_edu"));
	ASSERT_EQ(0, spare_arguments());
}

FIXTURE_TEARDOWN(importer)
{
	if (self->ring.ring_fd > 0)
		io_uring_queue_exit(&self->ring);
	ptn_disk_close(&self->disk);
	close(self->node);
	close(self->edu);
	close(self->fd);
}

/* Look at what the last round left, and begin another; false: that was all. */
static bool next_import(struct __test_metadata *_metadata, IMPORTER *self,
			struct pts_point *p, __u32 placement)
{
	if (p->nth) {
		EXPECT_USAGE(0, 0, 0);
		close(self->dmabuf);
		object_close(self->fd, &self->o);
	}
	EXPECT_EQ(self->vram_used, vram_used(self->fd));
	if (!pts_next(_metadata, p))
		return false;
	ASSERT_EQ(0, object_create(self->fd, &self->o, placement));
	self->dmabuf = ptx_export(self->fd, self->o.bo.handle, true);
	ASSERT_LE(0, self->dmabuf);
	return true;
}

static int attach(IMPORTER *self, __u32 flags)
{
	self->id = pte_attach(self->edu, self->dmabuf, flags, NULL);
	return self->id;
}

/*
 * What the CPU wrote the device reads, at one end of the object, and what the
 * device wrote the CPU reads, at the other; all else is as the CPU wrote it.
 */
static bool device_agrees(IMPORTER *self)
{
	__u64 bytes[LEN / 8], at = SIZE - LEN;
	static __u64 seed = 100;

	ptx_fill(self->o.map, SIZE, seed += 2);
	memset(bytes, 0xa5, sizeof(bytes));
	if (pte_dma_read(self->edu, self->id, 0, bytes, LEN) ||
	    ptx_check(bytes, LEN, seed) != LEN)
		return false;
	ptx_fill(bytes, LEN, seed + 1);
	return !pte_dma_write(self->edu, self->id, at, bytes, LEN) &&
	       ptx_check(self->o.map, at, seed) == at &&
	       ptx_check((char *)self->o.map + at, LEN, seed + 1) == LEN;
}

TEST_F_TIMEOUT(importer, attach, 200)
{
	static const struct kind kinds[] = KINDS("attach");
	const struct kind *k;
	int ret;

	for (k = kinds; k < kinds + ARRAY_SIZE(kinds); k++) {
		struct pts_point p = { .what = k->what };

		while (next_import(_metadata, self, &p, k->placement)) {
			HIT(p, attach(self, k->flags));
			if (ret < 0) {
				EXPECT_USAGE(0, 0, 0);
				ASSERT_LE(0, attach(self, k->flags));
			}
			EXPECT_EQ(0, pte_map(self->edu, self->id, NULL));
			EXPECT_TRUE(device_agrees(self));
			EXPECT_EQ(0, pte_detach(self->edu, self->id));
		}
	}
}

TEST_F_TIMEOUT(importer, map, 400)
{
	static const struct kind kinds[] = KINDS("map");
	const struct kind *k;
	int ret;

	for (k = kinds; k < kinds + ARRAY_SIZE(kinds); k++) {
		struct pts_point p = { .what = k->what };
		bool near = k->flags & P2PBUF_EDU_P2P;

		while (next_import(_metadata, self, &p, k->placement)) {
			ASSERT_LE(0, attach(self, k->flags));
			HIT(p, pte_map(self->edu, self->id, NULL));
			EXPECT_USAGE(!ret && !k->flags, !near,
				     !ret && near && k->placement == VRAM);
			EXPECT_EQ(SIZE, ptx_check(self->o.map, SIZE, 7));
			if (ret)
				EXPECT_EQ(0, pte_map(self->edu, self->id,
						     NULL));
			EXPECT_TRUE(device_agrees(self));
			EXPECT_EQ(0, pte_unmap(self->edu, self->id));
			EXPECT_USAGE(0, !near, 0);
			EXPECT_EQ(0, pte_detach(self->edu, self->id));
		}
	}
}

static int pin(IMPORTER *self)
{
	return pte_ioctl_id(self->edu, P2PBUF_EDU_PIN, self->id);
}

TEST_F_TIMEOUT(importer, pin, 400)
{
	static const struct kind kinds[] = KINDS("pin");
	const struct kind *k;
	int ret;

	/* All but the last one, which pins when it maps. */
	for (k = kinds; k->flags; k++) {
		bool near = k->flags & P2PBUF_EDU_P2P;
		/* What is pinned in host memory is charged to its user as it is. */
		struct pts_point p = {
			.what = k->what,
			.sure = near && k->placement == SYSTEM,
		};

		while (next_import(_metadata, self, &p, k->placement)) {
			ASSERT_LE(0, attach(self, k->flags));
			HIT(p, pin(self));
			EXPECT_USAGE(!ret, !near, 0);
			EXPECT_EQ(SIZE, ptx_check(self->o.map, SIZE, 7));
			if (ret)
				EXPECT_EQ(0, pin(self));
			EXPECT_EQ(0, pte_map(self->edu, self->id, NULL));
			EXPECT_TRUE(device_agrees(self));
			EXPECT_EQ(0, pte_unmap(self->edu, self->id));
			EXPECT_EQ(0, pte_ioctl_id(self->edu, P2PBUF_EDU_UNPIN,
						  self->id));
			EXPECT_USAGE(0, !near, 0);
			EXPECT_EQ(0, pte_detach(self->edu, self->id));
		}
	}
}

/* ---- mappings that end ---------------------------------------------------------------- */

/* Every byte: written by the drive's reading it, and the other way round. */
static bool drive_agrees(IMPORTER *self, __u32 id)
{
	static __u64 seed = 1000;

	ptx_fill(self->o.map, SIZE, ++seed);
	ptn_poison(self->scratch, SIZE);
	if (ptn_disk_write(&self->disk, self->scratch, SIZE, 0) ||
	    ptn_write(&self->ring, self->node, id, 0, 0, SIZE) != SIZE ||
	    ptn_disk_read(&self->disk, self->scratch, SIZE, 0) ||
	    ptx_check(self->scratch, SIZE, seed) != SIZE)
		return false;
	ptn_poison(self->o.map, SIZE);
	return ptn_read(&self->ring, self->node, id, 0, 0, SIZE) == SIZE &&
	       ptx_check(self->o.map, SIZE, seed) == SIZE;
}

/* Both importers have mapped the object. Returns the drive's binding. */
static int map_twice(IMPORTER *self)
{
	int ret = attach(self, P2PBUF_EDU_GOOD);

	if (ret >= 0)
		ret = pte_map(self->edu, self->id, NULL);
	return ret < 0 ? ret : ptn_bind(self->node, self->dmabuf, self->disk.fd,
					P2PBUF_NVME_BIND_ALLOW_SYSTEM);
}

/* They reach it where it is: by what they have, or by a new mapping. */
static void expect_reached(struct __test_metadata *_metadata, IMPORTER *self,
			   int drive)
{
	struct p2pbuf_edu_stat stat;

	ASSERT_EQ(0, pte_stat(self->edu, self->id, &stat));
	if (!stat.mapped)
		EXPECT_EQ(0, pte_map(self->edu, self->id, NULL));
	EXPECT_TRUE(device_agrees(self));
	EXPECT_TRUE(drive_agrees(self, drive));
}

static void unmap_both(struct __test_metadata *_metadata, IMPORTER *self,
		       int drive)
{
	EXPECT_EQ(0, ptn_unbind(self->node, drive));
	EXPECT_EQ(0, pte_detach(self->edu, self->id));
	EXPECT_EQ(self->lines, ptk_lines(PTS_ATTACHMENTS));
}

/* After @ret of a call that was to bring the object to @to. */
static void expect_moved(struct __test_metadata *_metadata, IMPORTER *self,
			 __u32 to, int ret)
{
	struct p2pbuf_edu_stat stat;

	EXPECT_EQ(SIZE, ptx_check(self->o.map, SIZE, 7));
	if (ret)
		return;
	EXPECT_EQ(to, ptx_placement(self->fd, self->o.bo.handle));
	ASSERT_EQ(0, pte_stat(self->edu, self->id, &stat));
	EXPECT_EQ(0, stat.mapped);
	EXPECT_EQ(1, stat.invalidations);
	/* The core unmaps in its own time. */
	EXPECT_TRUE(ptk_until(!pts_usage(self->region.name).vram, 10000));
}

/* Returns how often there was no slot for the fence of a mapping that ended. */
static unsigned int move_mapped(struct __test_metadata *_metadata,
				IMPORTER *self, const char *what, __u32 from)
{
	struct pts_point p = { .what = what };
	__u32 to = from == VRAM ? SYSTEM : VRAM;
	unsigned int waits = 0;
	int ret, drive;

	while (next_import(_metadata, self, &p, from)) {
		drive = map_twice(self);
		ASSERT_LT(0, drive);
		HIT(p, ptx_move(self->fd, self->o.bo.handle, to, 0));
		waits += pts_inline_waits();
		expect_moved(_metadata, self, to, ret);
		expect_reached(_metadata, self, drive);
		if (ret) {
			ret = ptx_move(self->fd, self->o.bo.handle, to, 0);
			EXPECT_EQ(0, ret);
			expect_reached(_metadata, self, drive);
		}
		EXPECT_EQ(to, ptx_placement(self->fd, self->o.bo.handle));
		unmap_both(_metadata, self, drive);
	}
	return waits;
}

TEST_F_TIMEOUT(importer, move, 400)
{
	ASSERT_EQ(0, pts_only("p2pbuf_exporter"));
	ASSERT_EQ(0, spare_arguments());
	move_mapped(_metadata, self, "move out, mapped", VRAM);
	move_mapped(_metadata, self, "move in, mapped", SYSTEM);
	/* Sure to be met: how many points come before it varies. */
	ASSERT_EQ(0, pts_only("p2pbuf_core"));
	EXPECT_LT(0, move_mapped(_metadata, self, "move out, fence", VRAM));
	EXPECT_LT(0, move_mapped(_metadata, self, "move in, fence", SYSTEM));
}

static unsigned int evict_mapped(struct __test_metadata *_metadata,
				 IMPORTER *self, const char *what)
{
	struct pts_point p = { .what = what };
	struct drm_p2pbuf_gem_create all;
	unsigned int waits = 0;
	int ret, drive;

	while (next_import(_metadata, self, &p, VRAM)) {
		drive = map_twice(self);
		ASSERT_LT(0, drive);
		HIT(p, ptx_create(self->fd, self->vram_size, VRAM, 0, &all));
		waits += pts_inline_waits();
		expect_moved(_metadata, self, SYSTEM, ret);
		expect_reached(_metadata, self, drive);
		if (ret) {
			ret = ptx_create(self->fd, self->vram_size, VRAM, 0,
					 &all);
			ASSERT_EQ(0, ret);
			expect_reached(_metadata, self, drive);
		}
		EXPECT_EQ(SYSTEM, ptx_placement(self->fd, self->o.bo.handle));
		EXPECT_EQ(0, ptx_close(self->fd, all.handle));
		unmap_both(_metadata, self, drive);
	}
	return waits;
}

TEST_F_TIMEOUT(importer, evict, 400)
{
	if (self->vram_used)
		SKIP(return, "somebody else uses VRAM");
	ASSERT_EQ(0, pts_only("p2pbuf_exporter"));
	ASSERT_EQ(0, spare_arguments());
	evict_mapped(_metadata, self, "evict, mapped");
	ASSERT_EQ(0, pts_only("p2pbuf_core"));
	EXPECT_LT(0, evict_mapped(_metadata, self, "evict, fence"));
}

/* ---- page faults of the CPU -------------------------------------------------------- */

enum memory { IN_VRAM, IN_SYSTEM, WINDOW };

FIXTURE(fault) {
	struct ptr_region region;
	int fd;
	int pipe[2];
	char *at;	/* two MiB of address space without a page table */
};

FIXTURE_VARIANT(fault) { const char *paged; enum memory kind; };
FIXTURE_VARIANT_ADD(fault, vram) { .paged = "0", .kind = IN_VRAM, };
FIXTURE_VARIANT_ADD(fault, system) { .paged = "0", .kind = IN_SYSTEM, };
FIXTURE_VARIANT_ADD(fault, window) { .paged = "0", .kind = WINDOW, };
FIXTURE_VARIANT_ADD(fault, paged_vram) { .paged = "1", .kind = IN_VRAM, };
FIXTURE_VARIANT_ADD(fault, paged_system) { .paged = "1", .kind = IN_SYSTEM, };

FIXTURE_SETUP(fault)
{
	const char *why = impossible();
	char *p;

	*self = (struct _test_data_fault){ .fd = -1, .pipe = { -1, -1 } };
	if (why)
		SKIP(return, "%s", why);
	if (find_region(&self->region))
		SKIP(return, "no render node of the exporter");
	ASSERT_EQ(0, ptr_param("paged", variant->paged));
	ASSERT_EQ(0, ptr_rebind(&self->region));
	self->fd = ptr_open(&self->region);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, pipe(self->pipe));
	p = mmap(NULL, 4 * PTN_MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		 0);
	ASSERT_NE(MAP_FAILED, p);
	munmap(p, 4 * PTN_MIB);
	self->at = (char *)(((uintptr_t)p + 2 * PTN_MIB - 1) &
			    -(uintptr_t)(2 * PTN_MIB));
}

FIXTURE_TEARDOWN(fault)
{
	if (self->fd < 0)
		return;
	close(self->pipe[0]);
	close(self->pipe[1]);
	close(self->fd);
	ptr_param("paged", "0");
	ptr_rebind(&self->region);
}

/*
 * In the kernel, not here: a fault that fails for want of memory is an error
 * there, and is repeated without a word when a program has it.
 */
static int touch(const int *fds, void *p, bool write_it)
{
	__u64 value = ptx_word(7, 0);
	ssize_t n;
	int ret;

	n = write(fds[1], write_it ? &value : p, sizeof(value));
	if (n != sizeof(value))
		return -errno;
	n = read(fds[0], write_it ? p : &value, sizeof(value));
	ret = n == sizeof(value) ? 0 : -errno;
	if (ret && read(fds[0], &value, sizeof(value)) != sizeof(value))
		return -EPIPE;
	return ret;
}

static void fault_sweep(struct __test_metadata *_metadata,
			struct _test_data_fault *self, enum memory kind,
			bool write_it)
{
	struct pts_point p = { .what = write_it ? "fault, write" : "fault, read" };
	struct drm_p2pbuf_gem_create bo;
	char *map;
	int ret;

	while (pts_next(_metadata, &p)) {
		if (kind == WINDOW)
			ret = ptx_create_window(self->fd, SIZE, 0, &bo);
		else
			ret = ptx_create(self->fd, SIZE,
					 kind == IN_VRAM ? VRAM : SYSTEM, 0,
					 &bo);
		ASSERT_EQ(0, ret);
		map = mmap(self->at, SIZE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_FIXED_NOREPLACE, self->fd,
			   bo.mmap_offset);
		ASSERT_EQ(self->at, map);
		HIT(p, touch(self->pipe, map, write_it));
		if (ret)
			EXPECT_EQ(0, touch(self->pipe, map, write_it));
		if (write_it)
			EXPECT_EQ(ptx_word(7, 0), *(volatile __u64 *)map);
		ptx_fill(map, SIZE, 5);
		EXPECT_EQ(SIZE, ptx_check(map, SIZE, 5));
		munmap(map, SIZE);
		EXPECT_EQ(0, ptx_close(self->fd, bo.handle));
	}
}

TEST_F_TIMEOUT(fault, touch, 100)
{
	fault_sweep(_metadata, self, variant->kind, false);
	fault_sweep(_metadata, self, variant->kind, true);
}

/* ---- fixed buffers ------------------------------------------------------------------ */

FIXTURE(fixed) {
	struct ptp_rig rig;
	struct ptx_object o;
};

FIXTURE_SETUP(fixed)
{
	/* There is one worker, so what is not in the caller is in that one. */
	unsigned int workers[2] = { 1, 1 };
	const char *why = impossible();
	int ret;

	self->rig = (struct ptp_rig){ .fd = -1 };
	if (why)
		SKIP(return, "%s", why);
	ret = ptp_open(&self->rig);
	if (ret == -ENODEV)
		SKIP(return, "no render node of the exporter");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, io_uring_register_iowq_max_workers(&self->rig.ring,
							workers));
	ASSERT_EQ(0, object_create(self->rig.fd, &self->o, VRAM));
}

FIXTURE_TEARDOWN(fixed)
{
	if (self->o.map)
		object_close(self->rig.fd, &self->o);
	ptp_close(&self->rig);
}

static int reg(struct _test_data_fixed *self, __u32 placement)
{
	return ptp_register(&self->rig.ring, self->rig.fd, self->o.bo.handle, 0,
			    placement);
}

static int unreg(struct _test_data_fixed *self)
{
	return ptp_unregister(&self->rig.ring, self->rig.fd, 0);
}

/* Registering is done by a worker: it moves the object, and that may take. */
static void register_sweep(struct __test_metadata *_metadata,
			   struct _test_data_fixed *self, __u32 from, __u32 to)
{
	struct pts_point p = { .what = to == VRAM ? "register in VRAM" :
						"register in host memory" };
	int ret;

	while (pts_next(_metadata, &p)) {
		/* with this there is a worker, and it is not tired of waiting */
		ASSERT_EQ(0, reg(self, from));
		ASSERT_EQ(0, unreg(self));
		ASSERT_EQ(0, pts_aim(pts_io_worker()));
		HIT(p, reg(self, to));
		pts_aim(0);
		EXPECT_EQ(!ret, ptp_pins(self->rig.fd, self->o.bo.handle));
		if (ret)
			ASSERT_EQ(0, reg(self, to));
		EXPECT_EQ(SIZE, ptx_check(self->o.map, SIZE, 7));
		ASSERT_EQ(0, unreg(self));
		EXPECT_TRUE(ptp_wait_pins(self->rig.fd, self->o.bo.handle, 0));
	}
}

TEST_F_TIMEOUT(fixed, enlist, 200)
{
	register_sweep(_metadata, self, SYSTEM, VRAM);
	register_sweep(_metadata, self, VRAM, SYSTEM);
}

/* ---- the birth of a region ---------------------------------------------------------- */

FIXTURE(region) { struct ptr_region region; bool found; };

/*
 * Not as a paged one: x86 looks at page tables that it did not get when pages
 * are added, Documentation/kernel-bugs.rst.
 */

FIXTURE_SETUP(region)
{
	const char *why = pts_impossible();

	self->found = false;
	if (why)
		SKIP(return, "%s", why);
	if (find_region(&self->region))
		SKIP(return, "no render node of the exporter");
	/* Enabling a device is the PCI core's, and ACPI's, own affair. */
	ASSERT_EQ(0, pts_below("p2pbuf_region_register"));
	/* DRM falls over its own error here, Documentation/kernel-bugs.rst. */
	ASSERT_EQ(0, pts_spare("__drm_dev_alloc"));
	self->found = true;
	ASSERT_EQ(0, ptr_unbind(&self->region));
}

FIXTURE_TEARDOWN(region)
{
	if (self->found)
		ptr_probe(&self->region);
}

/* By the file that tells of the error. */
static int bind_region(const struct ptr_region *region)
{
	return ptk_write("/sys/bus/pci/drivers/" PTX_DRIVER_NAME "/bind",
			 region->name);
}

/*
 * devtmpfs tells nobody that it had no memory for a node: the region is there,
 * but cannot be opened before it is bound anew.
 */
static int open_nodeless(const struct ptr_region *region)
{
	int fd = ptr_open(region);

	if (fd != -ENODEV || ptr_unbind(region) || bind_region(region))
		return fd;
	return ptr_open(region);
}

TEST_F_TIMEOUT(region, birth, 400)
{
	struct pts_point p = { .what = "birth of a region" };
	struct ptx_object o;
	int ret, fd;

	while (pts_next(_metadata, &p)) {
		HIT(p, bind_region(&self->region));
		if (ret)
			ASSERT_EQ(0, bind_region(&self->region));
		fd = p.more && !ret ? open_nodeless(&self->region) :
				      ptr_open(&self->region);
		ASSERT_LE(0, fd);
		EXPECT_EQ(0, vram_used(fd));
		ASSERT_EQ(0, object_create(fd, &o, VRAM));
		EXPECT_EQ(SIZE, ptx_check(o.map, SIZE, 7));
		object_close(fd, &o);
		close(fd);
		ASSERT_EQ(0, ptr_unbind(&self->region));
	}
}

TEST_HARNESS_MAIN
