// SPDX-License-Identifier: GPL-2.0
/*
 * VRAM, host memory and VRAM of another exporter side by side on a disk.
 *
 * The block layer of 7.3 makes one request of adjacent I/O without asking what
 * kind of memory it is of, and maps all of it as its first page. Where that
 * makes a difference (an IOMMU translates for host memory and a switch routes
 * to the exporter) bytes go astray. What prevents it is that SQEs on VRAM bear
 * their exporter's I/O priority. The tests here see to it that nothing is
 * merged: by the disk's own count of merges, and by every byte, with every
 * scheduler, in one process and among processes of all ordinary priorities.
 *
 * Each has a counterpart without the priority, which is expected to fail. It
 * shows that the test would notice, and whether the kernel still needs this.
 */
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <liburing.h>
#include <linux/ioprio.h>

#include "p2pbuf_test_paged.h"
#include "p2pbuf_test_run.h"

#define MIB		(1ULL << 20)
#define SIZE		MIB
#define VRAM		P2PBUF_PLACEMENT_VRAM
#define PIECE		4096
#define PIECES		44
#define BATCH		(PIECES * PIECE)
#define FAR		(32 * MIB)	/* where nothing is adjacent to a batch */

static const char * const schedulers[] = {
	"mq-deadline", "kyber", "bfq", "none",
};

/* A buffer that every other piece of a batch is of. */
struct side {
	char *bytes;
	int slot;		/* of the ring; -1: host memory, by address */
	__u32 priority;
};

FIXTURE(merge)
{
	struct ptp_rig rig;
	struct ptn_disk disk;
	struct ptr_region other;
	int other_fd;
	struct side vram, vram2, host;
	char *scratch;
};

/* A paged object in slot @slot. */
static int make_side(struct ptp_rig *rig, int fd, int slot, struct side *side)
{
	struct drm_p2pbuf_device_info info;
	struct drm_p2pbuf_gem_create bo;
	int ret;

	ret = ptx_device_info(fd, &info);
	if (!ret)
		ret = ptx_create(fd, SIZE, VRAM, 0, &bo);
	if (!ret)
		ret = ptp_register(&rig->ring, fd, bo.handle, slot, VRAM);
	if (ret)
		return ret;
	side->bytes = ptx_mmap(fd, SIZE, bo.mmap_offset);
	side->slot = slot;
	side->priority = info.io_priority;
	return side->bytes ? 0 : -ENOMEM;
}

/* Memory that children share. */
static char *shared_memory(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

FIXTURE_SETUP(merge)
{
	int ret;

	self->other_fd = -1;
	if (!ptp_is_near())
		SKIP(return, "the drive cannot reach VRAM here");
	/* A drive that is slow has time to find neighbours. */
	if (ptn_disk_open("slow", &self->disk) &&
	    ptn_disk_open("main", &self->disk))
		SKIP(return, "no drive");
	/* Last: nobody gives the region back for who skips. */
	ret = ptp_open(&self->rig);
	if (ret == -ENODEV)
		SKIP(return, "no render node of the exporter");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, make_side(&self->rig, self->rig.fd, 0, &self->vram));
	self->host = (struct side){
		.bytes = shared_memory(SIZE),
		.slot = -1,
	};
	self->scratch = ptn_memory(SIZE);
	ASSERT_NE(NULL, self->host.bytes);
	ASSERT_NE(NULL, self->scratch);
}

static void set_queue(const struct ptn_disk *disk, const char *attribute,
		      const char *value)
{
	char path[NAME_MAX + 64];

	snprintf(path, sizeof(path), "/sys/block/%s/queue/%s", disk->name,
		 attribute);
	ptk_write(path, value);
}

FIXTURE_TEARDOWN(merge)
{
	if (self->disk.name[0]) {
		set_queue(&self->disk, "nomerges", "0");
		set_queue(&self->disk, "scheduler", "none");
	}
	ptp_close(&self->rig);
	if (self->other_fd >= 0) {
		close(self->other_fd);
		ptr_rebind(&self->other);
	}
}

#define MERGE_DATA struct _test_data_merge

/* false when the kernel does not have it. */
static bool set_scheduler(const struct ptn_disk *disk, const char *name)
{
	char path[NAME_MAX + 64], now[128], chosen[32];

	if ((!strcmp(name, "bfq") || !strcmp(name, "kyber")) &&
	    ptk_run("modprobe %s%s 2>/dev/null", name,
		    name[0] == 'k' ? "-iosched" : ""))
		return false;
	set_queue(disk, "scheduler", name);
	snprintf(path, sizeof(path), "/sys/block/%s/queue/scheduler",
		 disk->name);
	snprintf(chosen, sizeof(chosen), "[%s]", name);
	return !ptn_read_text(path, now, sizeof(now)) && strstr(now, chosen);
}

/* Requests that were merged into others since boot, reads and writes. */
static long count_merges(const struct ptn_disk *disk)
{
	char path[NAME_MAX + 64], text[256];
	long reads, writes;

	snprintf(path, sizeof(path), "/sys/block/%s/stat", disk->name);
	if (ptn_read_text(path, text, sizeof(text)) ||
	    sscanf(text, "%*d %ld %*d %*d %*d %ld", &reads, &writes) != 2)
		return -1;
	return reads + writes;
}

/* What a batch came to. */
struct outcome {
	long merges;
	int wrong;		/* pieces */
};

static void prep(struct io_uring *ring, const struct ptn_disk *disk, bool write,
		 const struct side *side, unsigned int piece)
{
	const __u64 at = (__u64)piece * PIECE;
	struct io_uring_sqe *sqe;

	if (side->slot >= 0) {
		ptp_prep_fixed(ring, disk->direct, write, side->slot, at, PIECE,
			       at, side->priority);
		return;
	}
	sqe = io_uring_get_sqe(ring);
	if (write)
		io_uring_prep_write(sqe, disk->direct, side->bytes + at, PIECE,
				    at);
	else
		io_uring_prep_read(sqe, disk->direct, side->bytes + at, PIECE,
				   at);
	sqe->ioprio = side->priority;
}

/* Reap @n completions; how many are not @want. */
static int reap(struct io_uring *ring, unsigned int n, int want)
{
	struct io_uring_cqe *cqe;
	int bad = 0;

	for (; n; n--) {
		if (io_uring_wait_cqe(ring, &cqe))
			return -1;
		bad += cqe->res != want;
		io_uring_cqe_seen(ring, cqe);
	}
	return bad;
}

/* Before a read: the disk has the pattern, the buffers have not. */
static int ready_to_read(MERGE_DATA *self, struct side *a, struct side *b,
			 __u64 seed)
{
	ptx_fill(self->scratch, SIZE, seed);
	memset(a->bytes, 0xee, SIZE);
	memset(b->bytes, 0xdd, SIZE);
	return ptn_disk_write(&self->disk, self->scratch, BATCH, 0);
}

/* After it: each piece is in its side's buffer, and not in the other's. */
static int wrong_after_read(MERGE_DATA *self, struct side *a, struct side *b)
{
	int i, wrong = 0;

	for (i = 0; i < PIECES; i++) {
		char *here = (i & 1 ? b : a)->bytes + i * PIECE;
		char *there = (i & 1 ? a : b)->bytes + i * PIECE;

		wrong += memcmp(here, self->scratch + i * PIECE, PIECE) ||
			 (there[0] != (char)0xee && there[0] != (char)0xdd) ||
			 memcmp(there, there + 1, PIECE - 1);
	}
	return wrong;
}

/* Adjacent pieces, of @a and of @b in turn, in one submission. */
static int run_batch(MERGE_DATA *self, bool write, struct side *a,
		     struct side *b, __u64 seed, struct outcome *outcome)
{
	struct io_uring *ring = &self->rig.ring;
	long before;
	int i;

	if (ready_to_read(self, a, b, seed))
		return -EIO;
	if (write) {
		ptx_fill(a->bytes, SIZE, seed + 1);
		ptx_fill(b->bytes, SIZE, seed + 2);
	}
	before = count_merges(&self->disk);
	for (i = 0; i < PIECES; i++)
		prep(ring, &self->disk, write, i & 1 ? b : a, i);
	if (io_uring_submit(ring) != PIECES || reap(ring, PIECES, PIECE))
		return -EIO;
	outcome->merges = count_merges(&self->disk) - before;
	if (!write) {
		outcome->wrong = wrong_after_read(self, a, b);
		return 0;
	}
	if (ptn_disk_read(&self->disk, self->scratch, BATCH, 0))
		return -EIO;
	for (i = 0, outcome->wrong = 0; i < PIECES; i++)
		outcome->wrong += !!memcmp((i & 1 ? b : a)->bytes + i * PIECE,
					   self->scratch + i * PIECE, PIECE);
	return 0;
}

/* ---- one process ----------------------------------------------------------- */

/* Neither merged nor wrong, both ways, whichever side is first. */
static void expect_apart(struct __test_metadata *_metadata, MERGE_DATA *self,
			 struct side *a, struct side *b, const char *what)
{
	struct outcome outcome = {};
	int i;

	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, run_batch(self, i & 1, i & 2 ? b : a,
				       i & 2 ? a : b, 10 * i, &outcome));
		EXPECT_EQ(0, outcome.wrong)
			TH_LOG("%s, %s", what, i & 1 ? "write" : "read");
		EXPECT_EQ(0, outcome.merges)
			TH_LOG("%s, %s", what, i & 1 ? "write" : "read");
	}
}

TEST_F_TIMEOUT(merge, host_memory, 120)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(schedulers); i++) {
		if (!set_scheduler(&self->disk, schedulers[i]))
			TH_LOG("no scheduler %s", schedulers[i]);
		else
			expect_apart(_metadata, self, &self->vram, &self->host,
				     schedulers[i]);
	}
}

/* Not a failure: what the priority is for, and when it is needed no longer. */
static void expect_merges(struct __test_metadata *_metadata, const char *whose,
			  const struct outcome *outcome)
{
	if (!outcome->merges) {
		EXPECT_EQ(0, outcome->wrong);
		return;
	}
	snprintf(_metadata->results->reason, sizeof(_metadata->results->reason),
		 "this kernel merges VRAM with %s memory: %ld reads, %d wrong here",
		 whose, outcome->merges, outcome->wrong);
	_metadata->exit_code = KSFT_XFAIL;
}

TEST_F(merge, host_memory_without_priority)
{
	struct outcome outcome = {};

	self->vram.priority = 0;
	ASSERT_EQ(0, run_batch(self, false, &self->vram, &self->host, 1,
			       &outcome));
	expect_merges(_metadata, "host", &outcome);
}

/* The belt: for those who forget the priority. */
TEST_F(merge, host_memory_nomerges)
{
	self->vram.priority = 0;
	set_queue(&self->disk, "nomerges", "2");
	expect_apart(_metadata, self, &self->vram, &self->host, "nomerges");
}

static bool add_region(struct __test_metadata *_metadata, MERGE_DATA *self)
{
	int i;

	for (i = 0; !ptr_find(i, &self->other); i++)
		if (self->other.pci != self->rig.region.pci)
			break;
	if (ptr_find(i, &self->other))
		return false;
	ASSERT_EQ(0, ptr_param("reserved", "0"));
	ASSERT_EQ(0, ptr_rebind(&self->other));
	self->other_fd = ptr_open(&self->other);
	ASSERT_LE(0, self->other_fd);
	ASSERT_EQ(0, make_side(&self->rig, self->other_fd, 1, &self->vram2));
	return true;
}

TEST_F_TIMEOUT(merge, two_exporters, 120)
{
	struct outcome outcome = {};
	unsigned int i;

	if (!add_region(_metadata, self))
		SKIP(return, "no second exporter");
	ASSERT_NE(self->vram.priority, self->vram2.priority);
	for (i = 0; i < ARRAY_SIZE(schedulers); i++)
		if (set_scheduler(&self->disk, schedulers[i]))
			expect_apart(_metadata, self, &self->vram, &self->vram2,
				     schedulers[i]);

	/* Had they only one priority for both of them: */
	self->vram2.priority = self->vram.priority;
	ASSERT_EQ(0, run_batch(self, false, &self->vram, &self->vram2, 1,
			       &outcome));
	TH_LOG("with one priority for both: %ld of %d reads merged, %d wrong here",
	       outcome.merges, PIECES, outcome.wrong);
}

/* ---- many processes -------------------------------------------------------- */

/* IOPRIO_PRIO_VALUE() of this header is a call, and no constant. */
#define PRIO(class, level)	(IOPRIO_CLASS_##class << IOPRIO_CLASS_SHIFT | (level))

/* What a process may have by ionice(1); IOPRIO_CLASS_NONE: it never called. */
static const int classes[] = {
	PRIO(NONE, 0), PRIO(BE, 0), PRIO(BE, 1), PRIO(BE, 2), PRIO(BE, 3),
	PRIO(BE, 4), PRIO(BE, 5), PRIO(BE, 6), PRIO(BE, 7), PRIO(RT, 4),
	PRIO(IDLE, 0),
};

#define CHILDREN	((int)ARRAY_SIZE(classes))

/* Software queues are those of a CPU: all the processes have to be on one. */
static void stay_on_one_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* Reads the pieces of host memory that are those of child @k. */
static int child_reads(MERGE_DATA *self, int k, int go)
{
	struct io_uring ring;
	int i, n = 0;
	char c;

	if (syscall(SYS_ioprio_set, 1 /* process */, 0, classes[k]) ||
	    io_uring_queue_init(PIECES, &ring, 0) || read(go, &c, 1) != 1)
		return 1;
	for (i = 2 * k + 1; i < PIECES; i += 2 * CHILDREN, n++)
		prep(&ring, &self->disk, false, &self->host, i);
	if (io_uring_submit(&ring) != n)
		return 2;
	return reap(&ring, n, PIECE) ? 3 : 0;
}

/*
 * I/O far away that keeps the scheduler from dispatching what comes next:
 * mq-deadline serves real time first, bfq one at a time. Kyber and none merge
 * only what they have not yet looked at, for which nothing has to be held back.
 */
static unsigned int hold_back(MERGE_DATA *self, struct io_uring *ring,
			      const char *scheduler)
{
	const unsigned int n = 16;
	struct io_uring_sqe *sqe;
	unsigned int i;

	if (!strcmp(scheduler, "none") || !strcmp(scheduler, "kyber"))
		return 0;
	if (!strcmp(scheduler, "bfq"))
		set_queue(&self->disk, "iosched/strict_guarantees", "1");
	for (i = 0; i < n; i++) {
		sqe = io_uring_get_sqe(ring);
		/* dma-debug warns of more than seven at one address. */
		io_uring_prep_read(sqe, self->disk.direct,
				   self->scratch + i * PIECE, 512,
				   FAR + 2 * i * PIECE);
		sqe->ioprio = PRIO(RT, 0);
	}
	return io_uring_submit(ring) == (int)n ? n : 0;
}

static int start_children(MERGE_DATA *self, int go, pid_t *pids)
{
	int k;

	for (k = 0; k < CHILDREN; k++) {
		pids[k] = fork();
		if (pids[k] < 0)
			return -errno;
		if (!pids[k])
			_exit(child_reads(self, k, go));
	}
	return 0;
}

/* How many did not end well? */
static int end_children(const pid_t *pids)
{
	int k, status, bad = 0;

	for (k = 0; k < CHILDREN; k++)
		bad += waitpid(pids[k], &status, 0) != pids[k] ||
		       !WIFEXITED(status) || WEXITSTATUS(status);
	return bad;
}

/* A batch whose pieces of VRAM are ours, and those of host memory theirs. */
static void run_crowd(struct __test_metadata *_metadata, MERGE_DATA *self,
		      const char *scheduler, struct outcome *outcome)
{
	char go[CHILDREN] = {};
	struct io_uring holder;
	pid_t pids[CHILDREN];
	unsigned int held;
	int pipes[2], i;
	long before;

	ASSERT_EQ(0, ready_to_read(self, &self->vram, &self->host, 70));
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, start_children(self, pipes[0], pids));
	ASSERT_EQ(0, io_uring_queue_init(16, &holder, 0));
	before = count_merges(&self->disk);
	held = hold_back(self, &holder, scheduler);
	/* Every other piece before theirs, the rest behind. */
	for (i = 0; i < PIECES; i += 4)
		prep(&self->rig.ring, &self->disk, false, &self->vram, i);
	ASSERT_EQ(PIECES / 4, io_uring_submit(&self->rig.ring));
	ASSERT_EQ(CHILDREN, write(pipes[1], go, CHILDREN));
	for (i = 2; i < PIECES; i += 4)
		prep(&self->rig.ring, &self->disk, false, &self->vram, i);
	sched_yield();
	ASSERT_EQ(PIECES / 4, io_uring_submit(&self->rig.ring));
	EXPECT_EQ(0, reap(&self->rig.ring, PIECES / 2, PIECE));
	EXPECT_EQ(0, end_children(pids));
	EXPECT_EQ(0, reap(&holder, held, 512));
	outcome->merges = count_merges(&self->disk) - before;
	/* What held them back was read over the pattern. */
	ptx_fill(self->scratch, SIZE, 70);
	outcome->wrong = wrong_after_read(self, &self->vram, &self->host);
	io_uring_queue_exit(&holder);
	close(pipes[0]);
	close(pipes[1]);
}

static bool is_slow(const struct ptn_disk *disk)
{
	char name[NAME_MAX + 1];

	return !ptn_disk_name("slow", name, sizeof(name)) &&
	       !strcmp(name, disk->name);
}

TEST_F_TIMEOUT(merge, other_processes, 180)
{
	struct outcome outcome = {};
	unsigned int i;

	if (!is_slow(&self->disk))
		SKIP(return, "no drive that is slow enough to wait for others");
	stay_on_one_cpu();
	for (i = 0; i < ARRAY_SIZE(schedulers); i++) {
		if (!set_scheduler(&self->disk, schedulers[i]))
			continue;
		run_crowd(_metadata, self, schedulers[i], &outcome);
		EXPECT_EQ(0, outcome.wrong) TH_LOG("%s", schedulers[i]);
		EXPECT_EQ(0, outcome.merges) TH_LOG("%s", schedulers[i]);
	}
}

TEST_F_TIMEOUT(merge, other_processes_without_priority, 180)
{
	struct outcome outcome = {}, sum = {};
	unsigned int i;

	if (!is_slow(&self->disk))
		SKIP(return, "no drive that is slow enough to wait for others");
	stay_on_one_cpu();
	self->vram.priority = 0;
	for (i = 0; i < ARRAY_SIZE(schedulers); i++) {
		if (!set_scheduler(&self->disk, schedulers[i]))
			continue;
		run_crowd(_metadata, self, schedulers[i], &outcome);
		TH_LOG("%s: %ld merged, %d wrong here", schedulers[i],
		       outcome.merges, outcome.wrong);
		sum.merges += outcome.merges;
		sum.wrong += outcome.wrong;
	}
	expect_merges(_metadata, "other processes'", &sum);
}

TEST_HARNESS_MAIN
