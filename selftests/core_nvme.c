// SPDX-License-Identifier: GPL-2.0
/*
 * The contract with a real device: NVMe I/O on buffers of the mock exporter.
 *
 * Tables in pieces and out of order must not lose or misplace a byte; tables
 * that lie must be refused; a move, a revoke, an eviction in the middle of I/O
 * must not be seen by the user (invariant 7), and not one byte may reach a
 * place after the buffer has left it.
 */
#include <signal.h>
#include <sys/wait.h>

#include <liburing.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_nvme.h"
#include "p2pbuf_test_core.h"
#include "p2pbuf_test_mover.h"
#include "p2pbuf_probe.h"
#include "p2pbuf_test_run.h"

#define SIZE		(2 * PTN_MIB)
#define DISK_READ	(8 * PTN_MIB)
#define DISK_WRITE	(32 * PTN_MIB)
#define SEED		1ULL
#define DEPTH		32
#define SLOT		(SIZE / DEPTH)

FIXTURE(device) {
	int mock;
	int buf;
	int node;
	int id;
	struct ptn_disk disk;
	struct io_uring ring;
	struct ptm_lent bar;
	char *scratch;
};

FIXTURE_VARIANT(device) {
	__u32 placement;
	__u32 flags;
};

FIXTURE_VARIANT_ADD(device, pages) {
	.placement = P2PBUF_MOCK_PAGES,
	.flags = P2PBUF_NVME_BIND_ALLOW_SYSTEM,
};

FIXTURE_VARIANT_ADD(device, bar) {
	.placement = P2PBUF_MOCK_BAR,
};

FIXTURE_SETUP(device)
{
	const char *why = ptc_hopeless(variant->placement);
	int ret;

	*self = (struct _test_data_device){
		.mock = -1, .buf = -1, .node = -1, .id = -1,
		.disk = { .fd = -1, .direct = -1 },
		.ring = { .ring_fd = -1 },
	};
	if (why)
		SKIP(return, "%s", why);
	self->mock = ptm_open();
	self->node = ptn_open();
	if (self->mock < 0 || self->node < 0)
		SKIP(return, "no mock or no p2pbuf_nvme");
	ret = ptn_disk_open("main", &self->disk);
	if (ret == -ENODEV)
		SKIP(return, "no drive with serial number main");
	ASSERT_EQ(0, ret);
	if (variant->placement == P2PBUF_MOCK_BAR) {
		ret = ptm_lend_bar(&self->bar);
		if (ret == -ENODEV)
			SKIP(return, "no BAR to lend to the mock");
		ASSERT_EQ(0, ret);
	}
	self->buf = ptm_create(self->mock, SIZE, variant->placement, 0);
	ASSERT_LE(0, self->buf);
	self->scratch = ptn_memory(SIZE);
	ASSERT_NE(NULL, self->scratch);
	ASSERT_EQ(0, io_uring_queue_init(2 * DEPTH, &self->ring, 0));
	ASSERT_EQ(0, ptn_disk_fill(&self->disk, DISK_READ, 2 * SIZE, SEED,
				   self->scratch, SIZE));
}

/* What may never happen, whatever the test did. */
static bool clean(int mock, int buf)
{
	struct p2pbuf_mock_buffer_info info = ptm_info(mock, buf);

	return !info.pins && !info.static_attaches && !info.deaf_attaches &&
	       !info.late_words && !info.locked;
}

FIXTURE_TEARDOWN(device)
{
	if (self->id > 0)
		EXPECT_EQ(0, ptn_unbind(self->node, self->id));
	if (self->buf >= 0) {
		EXPECT_TRUE(clean(self->mock, self->buf));
		close(self->buf);
	}
	if (self->ring.ring_fd >= 0)
		io_uring_queue_exit(&self->ring);
	ptn_disk_close(&self->disk);
	close(self->node);
	close(self->mock);
	ptm_give_back(&self->bar);
}

/* The binding of the fixture's buffer. */
static int bind_buffer(struct _test_data_device *self, __u32 flags)
{
	self->id = ptn_bind(self->node, self->buf, self->disk.fd, flags);
	return self->id < 0 ? self->id : 0;
}

/* The range of the buffer holds the disk's pattern of @dev. */
static bool holds(struct _test_data_device *self, int buf, __u64 offset, __u64 len,
		  __u64 dev)
{
	__u64 n = 0;
	int ret;

	ret = ptm_data(self->mock, buf, false, offset, self->scratch, len);
	if (!ret)
		n = ptn_check(self->scratch, len, SEED, dev);
	/* An assertion that follows would lose what stdio keeps. */
	if (n != len)
		dprintf(STDOUT_FILENO, "# wrong at %llu of %llu, buffer offset %llu: %llx, %d\n",
			n, len, offset,
			*(unsigned long long *)(self->scratch + n), ret);
	return n == len;
}

static int poison(struct _test_data_device *self, int buf, __u64 offset, __u64 len)
{
	ptn_poison(self->scratch, len);
	return ptm_data(self->mock, buf, true, offset, self->scratch, len);
}

static bool poisoned(struct _test_data_device *self, int buf, __u64 offset,
		     __u64 len)
{
	return !ptm_data(self->mock, buf, false, offset, self->scratch, len) &&
	       ptn_check_poison(self->scratch, len) == len;
}

#define PENDING() ptm_fence(self->mock, self->buf, P2PBUF_MOCK_KERNEL, 0, 0)
#define SIGNAL(fence) ptm_call(self->mock, P2PBUF_MOCK_SIGNAL, fence)
#define MOCK_BUFFER() ptm_info(self->mock, self->buf)

/* ---- shapes --------------------------------------------------------------------- */

static const struct {
	__u64 buf;
	__u32 len;
} pieces[] = {
	{ 0, 512 }, { 0, 4096 }, { 4092, 512 }, { 4096, 8192 },
	{ 4, 3 * 4096 }, { 5 * 4096, 64 * 1024 }, { 2048, 128 * 1024 },
	{ 255 * 4096, 512 * 1024 }, { 256 * 4096 - 4, 512 * 1024 },
	{ 7 * 4096 + 512, 1024 * 1024 }, { 0, SIZE },
};

/* Reads and writes of all kinds on one buffer. */
static bool io_is_exact(struct _test_data_device *self, int buf, int id)
{
	unsigned int i;

	for (i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		__u64 at = pieces[i].buf, dev = DISK_READ + i * 512;
		__u32 len = pieces[i].len;

		if (poison(self, buf, 0, SIZE) ||
		    ptn_read(&self->ring, self->node, id, at, dev, len) !=
		    (int)len)
			return false;
		if (!holds(self, buf, at, len, dev) ||
		    !poisoned(self, buf, 0, at) ||
		    !poisoned(self, buf, at + len, SIZE - at - len))
			return false;
		/* The same bytes to another place of the disk. */
		ptn_poison(self->scratch, len);
		if (ptn_disk_write(&self->disk, self->scratch, len,
				   DISK_WRITE) ||
		    ptn_write(&self->ring, self->node, id, at, DISK_WRITE,
			      len) != (int)len ||
		    ptn_disk_read(&self->disk, self->scratch, len, DISK_WRITE) ||
		    ptn_check(self->scratch, len, SEED, dev) != len)
			return false;
	}
	return true;
}

TEST_F_TIMEOUT(device, tables_in_pieces, 100)
{
	static const __u32 shapes[] = {
		P2PBUF_MOCK_WHOLE, P2PBUF_MOCK_SINGLE, P2PBUF_MOCK_ODD,
		P2PBUF_MOCK_ZEROLEN, P2PBUF_MOCK_LONG,
	};
	unsigned int i;
	int buf, id;

	for (i = 0; i < 2 * sizeof(shapes) / sizeof(shapes[0]); i++) {
		buf = ptm_create(self->mock, SIZE, variant->placement,
				 i & 1 ? P2PBUF_MOCK_SHUFFLE : 0);
		ASSERT_LE(0, buf);
		ASSERT_EQ(0, ptm_shape(self->mock, buf, shapes[i / 2]));
		id = ptn_bind(self->node, buf, self->disk.fd, variant->flags);
		ASSERT_LT(0, id);
		EXPECT_TRUE(io_is_exact(self, buf, id))
			TH_LOG("shape %u, shuffled %u", shapes[i / 2], i & 1);
		/* And once more from pages in another order. */
		ASSERT_EQ(0, ptm_move(self->mock, buf, variant->placement, 0));
		EXPECT_EQ((int)SIZE, ptn_read(&self->ring, self->node, id, 0,
					      DISK_READ, SIZE));
		EXPECT_TRUE(holds(self, buf, 0, SIZE, DISK_READ));
		EXPECT_EQ(0, ptn_unbind(self->node, id));
		EXPECT_TRUE(clean(self->mock, buf));
		EXPECT_EQ(0, ptm_info(self->mock, buf).live);
		close(buf);
	}
}

TEST_F(device, tables_that_lie)
{
	static const __u32 shapes[] = {
		P2PBUF_MOCK_SHORT, P2PBUF_MOCK_UNALIGNED_ADDR,
		P2PBUF_MOCK_UNALIGNED_LEN, P2PBUF_MOCK_NOBODY,
		P2PBUF_MOCK_WRAP, P2PBUF_MOCK_MSI,
	};
	struct p2pbuf_nvme_bind bind;
	unsigned int i;

	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		ASSERT_EQ(0, ptm_shape(self->mock, self->buf, shapes[i]));
		EXPECT_EQ(shapes[i] == P2PBUF_MOCK_WRAP ? -ENODATA : -EFAULT,
			  ptn_bind_range(self->node, self->buf, self->disk.fd,
					 0, 0, variant->flags, &bind));
		EXPECT_EQ(P2PBUF_PATH_REFUSED, bind.path.path);
		EXPECT_NE(P2PBUF_REASON_NONE, bind.path.reason);
		EXPECT_EQ(0, MOCK_BUFFER().live);
		EXPECT_EQ(MOCK_BUFFER().attaches, MOCK_BUFFER().detaches);
	}
	ASSERT_EQ(0, ptm_shape(self->mock, self->buf, P2PBUF_MOCK_WHOLE));
	EXPECT_EQ(0, bind_buffer(self, variant->flags));
}

/* It was honest when it was bound; the lie comes with a move. */
TEST_F(device, lies_after_a_move)
{
	ASSERT_EQ(0, bind_buffer(self, variant->flags));
	ASSERT_EQ(0, poison(self, self->buf, 0, SIZE));
	ASSERT_EQ(0, ptm_shape(self->mock, self->buf, P2PBUF_MOCK_NOBODY));
	ASSERT_EQ(0, ptm_move(self->mock, self->buf, variant->placement, 0));
	EXPECT_EQ(-EFAULT, ptn_read(&self->ring, self->node, self->id, 0,
				    DISK_READ, 4096));
	EXPECT_TRUE(poisoned(self, self->buf, 0, SIZE));
	ASSERT_EQ(0, ptm_shape(self->mock, self->buf, P2PBUF_MOCK_WHOLE));
	EXPECT_EQ(4096, ptn_read(&self->ring, self->node, self->id, 0,
				 DISK_READ, 4096));
	EXPECT_TRUE(holds(self, self->buf, 0, 4096, DISK_READ));
}

/* ---- invariant 7: the user sees no retry -------------------------------------------- */

/* Submitted while there is nothing to do I/O on: it waits, then it is done. */
TEST_F(device, io_waits_for_the_exporter)
{
	struct ptn_io io = {
		.op = PTN_READ, .dev = DISK_READ, .len = 64 * 1024,
	};
	struct io_uring_cqe *cqe;
	int fence, i;

	ASSERT_EQ(0, bind_buffer(self, variant->flags));
	io.id = self->id;
	ASSERT_EQ(0, ptm_move(self->mock, self->buf, variant->placement, 0));
	ASSERT_EQ(0, poison(self, self->buf, 0, SIZE));
	fence = PENDING();
	ASSERT_LT(0, fence);
	for (i = 0; i < 8; i++) {
		io.buf = i * io.len;
		ptn_prep(ptn_sqe(&self->ring), self->node, &io);
	}
	ASSERT_EQ(8, io_uring_submit(&self->ring));
	ptm_sleep_ms(PTM_SHORT_MS);
	EXPECT_EQ(-EAGAIN, io_uring_peek_cqe(&self->ring, &cqe));
	EXPECT_EQ(0, MOCK_BUFFER().locked);
	ASSERT_EQ(0, SIGNAL(fence));
	for (i = 0; i < 8; i++)
		EXPECT_EQ((int)io.len, ptn_wait(&self->ring, NULL));
	for (i = 0; i < 8; i++)
		EXPECT_TRUE(holds(self, self->buf, i * io.len, io.len,
				  DISK_READ));
}

/* An error of the exporter is the I/O's, once, with nothing transferred. */
TEST_F(device, io_meets_a_revoked_buffer)
{
	static const int errors[] = { ENODEV, EPERM, ENOSPC };
	unsigned int i;

	ASSERT_EQ(0, bind_buffer(self, variant->flags));
	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		ASSERT_EQ(0, ptm_revoke(self->mock, self->buf, errors[i]));
		EXPECT_EQ(-errors[i], ptn_read(&self->ring, self->node,
					       self->id, 0, DISK_READ, 8192));
		/* In parts, by a worker. */
		EXPECT_EQ(-errors[i], ptn_read(&self->ring, self->node,
					       self->id, 0, DISK_READ, SIZE));
		ASSERT_EQ(0, ptm_revoke(self->mock, self->buf, 0));
		EXPECT_EQ((int)SIZE, ptn_read(&self->ring, self->node,
					      self->id, 0, DISK_READ, SIZE));
		EXPECT_TRUE(holds(self, self->buf, 0, SIZE, DISK_READ));
	}
}

/* What the exporter says is what BIND and I/O say; nothing is left behind. */
TEST_F(device, errors_of_the_exporter)
{
	static const int errors[] = {
		EPERM, EIO, ENOMEM, EACCES, EBUSY, ENODEV, EINVAL, ENOSPC,
		EOPNOTSUPP, ETIMEDOUT, EREMOTEIO, 4095,
	};
	struct p2pbuf_nvme_bind bind;
	unsigned int i;

	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		ASSERT_EQ(0, ptm_rule(self->mock, self->buf,
				      P2PBUF_MOCK_OP_ATTACH, P2PBUF_MOCK_FAIL,
				      errors[i], 0, 1));
		EXPECT_EQ(-errors[i], ptn_bind(self->node, self->buf,
					       self->disk.fd, variant->flags));
		EXPECT_EQ(i, MOCK_BUFFER().attaches);
		ASSERT_EQ(0, ptm_rule(self->mock, self->buf, P2PBUF_MOCK_OP_MAP,
				      P2PBUF_MOCK_FAIL, errors[i], 0, 1));
		EXPECT_EQ(-errors[i],
			  ptn_bind_range(self->node, self->buf, self->disk.fd,
					 0, 0, variant->flags, &bind));
		EXPECT_EQ(P2PBUF_REASON_EXPORTER, bind.path.reason);
		EXPECT_EQ(i + 1, MOCK_BUFFER().detaches);
		EXPECT_EQ(0, MOCK_BUFFER().maps);
	}
	ASSERT_EQ(0, bind_buffer(self, variant->flags));
	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		ASSERT_EQ(0, poison(self, self->buf, 0, SIZE));
		ASSERT_EQ(0, ptm_move(self->mock, self->buf,
				      variant->placement, 0));
		ASSERT_EQ(0, ptm_rule(self->mock, self->buf, P2PBUF_MOCK_OP_MAP,
				      P2PBUF_MOCK_FAIL, errors[i], 0, 1));
		EXPECT_EQ(-errors[i], ptn_read(&self->ring, self->node,
					       self->id, 0, DISK_READ, SLOT));
		EXPECT_TRUE(poisoned(self, self->buf, 0, SIZE));
		EXPECT_EQ(0, MOCK_BUFFER().live);
	}
	EXPECT_EQ((int)SIZE, ptn_read(&self->ring, self->node, self->id, 0,
				      DISK_READ, SIZE));
	EXPECT_TRUE(holds(self, self->buf, 0, SIZE, DISK_READ));
}

/* To try again is a matter of the kernel alone; what is no wait is an error. */
TEST_F(device, exporter_says_again)
{
	ASSERT_EQ(0, ptm_rule(self->mock, self->buf, P2PBUF_MOCK_OP_MAP,
			      P2PBUF_MOCK_FAIL, EAGAIN, 0, 1));
	EXPECT_EQ(-EBUSY, bind_buffer(self, variant->flags));
	ASSERT_EQ(0, bind_buffer(self, variant->flags));
	ASSERT_EQ(0, poison(self, self->buf, 0, SIZE));
	ASSERT_EQ(0, ptm_move(self->mock, self->buf, variant->placement, 0));
	ASSERT_EQ(0, ptm_rule(self->mock, self->buf, P2PBUF_MOCK_OP_MAP,
			      P2PBUF_MOCK_FAIL, EAGAIN, 0, 1));
	EXPECT_EQ(-EBUSY, ptn_read(&self->ring, self->node, self->id, 0,
				   DISK_READ, SLOT));
	EXPECT_TRUE(poisoned(self, self->buf, 0, SIZE));
	EXPECT_EQ((int)SLOT, ptn_read(&self->ring, self->node, self->id, 0,
				      DISK_READ, SLOT));
	EXPECT_TRUE(holds(self, self->buf, 0, SLOT, DISK_READ));
}

#define LONG	(16 * PTN_MIB)

/* What becomes of the read of user_data 1. */
static int cancel_long(struct io_uring *ring)
{
	struct io_uring_sqe *sqe = ptn_sqe(ring);
	int i, ret, res = 0;
	__u64 number;

	io_uring_prep_cancel64(sqe, 1, 0);
	sqe->user_data = 2;
	io_uring_submit(ring);
	for (i = 0; i < 2; i++) {
		ret = ptn_wait(ring, &number);
		if (number == 1)
			res = ret;
	}
	return res;
}

/*
 * The buffer is asked for after the first parts of a long command, and that is
 * cancelled while the next one waits. EINTR would say that nothing was done.
 */
TEST_F_TIMEOUT(device, cancelled_between_parts, 60)
{
	struct ptn_io io = { .op = PTN_READ, .dev = DISK_READ, .len = LONG };
	struct p2pbuf_nvme_bind_info before, info;
	struct io_uring_sqe *sqe;
	char path[PATH_MAX], nr[32];
	int buf, fence, hold, tries, res = LONG;
	struct ptn_disk slow;

	if (variant->placement != P2PBUF_MOCK_PAGES)
		SKIP(return, "once is enough");
	if (ptn_disk_open("slow", &slow))
		SKIP(return, "no slow drive");
	/* Parts have to wait for each other. */
	snprintf(path, sizeof(path), "/sys/block/%s/queue/nr_requests",
		 slow.name);
	ASSERT_EQ(0, ptn_read_text(path, nr, sizeof(nr)));
	ASSERT_EQ(0, ptk_write(path, "4"));
	buf = ptm_create(self->mock, LONG, P2PBUF_MOCK_PAGES, 0);
	ASSERT_LE(0, buf);
	io.id = ptn_bind(self->node, buf, slow.fd, variant->flags);
	ASSERT_LT(0, (int)io.id);
	for (tries = 0; tries < 50 && res == LONG; tries++) {
		/* Mapped, and after this it cannot be mapped anew. */
		ASSERT_EQ(4096, ptn_read(&self->ring, self->node, io.id, 0,
					 DISK_READ, 4096));
		fence = ptm_fence(self->mock, buf, P2PBUF_MOCK_KERNEL, 0,
				  P2PBUF_MOCK_BACKGROUND);
		ASSERT_LT(0, fence);
		ASSERT_EQ(0, ptn_info(self->node, io.id, &before));
		sqe = ptn_sqe(&self->ring);
		ptn_prep(sqe, self->node, &io);
		sqe->flags |= IOSQE_ASYNC;
		sqe->user_data = 1;
		ASSERT_EQ(1, io_uring_submit(&self->ring));
		do {
			ASSERT_EQ(0, ptn_info(self->node, io.id, &info));
		} while (info.reads == before.reads);
		/* A move takes too long until it begins. */
		hold = ptm_hold(self->mock, buf, P2PBUF_MOCK_HOLD_WAIT,
				PTM_LONG_MS);
		ASSERT_LT(0, hold);
		ASSERT_EQ(0, ptm_hold_wait(self->mock, hold,
					   P2PBUF_MOCK_HOLD_DONE, PTM_LONG_MS));
		ptm_call(self->mock, P2PBUF_MOCK_CLOSE, hold);
		res = cancel_long(&self->ring);
		ASSERT_EQ(0, SIGNAL(fence));
	}
	EXPECT_EQ(0, ptk_write(path, nr));
	EXPECT_EQ(0, ptn_unbind(self->node, io.id));
	ptn_disk_close(&slow);
	close(buf);
	if (res == LONG)
		SKIP(return, "the drive was always faster");
	EXPECT_EQ(-EIO, res)
		TH_LOG("%s", strerror(-res));
}

/* Every other map fails: each I/O is done or says why, no third thing. */
TEST_F(device, io_meets_failing_maps)
{
	unsigned int i, failed = 0;
	int ret;

	ASSERT_EQ(0, bind_buffer(self, variant->flags));
	for (i = 0; i < 40; i++) {
		ASSERT_EQ(0, poison(self, self->buf, 0, 8192));
		if (i & 1)
			ASSERT_EQ(0, ptm_rule(self->mock, self->buf,
					      P2PBUF_MOCK_OP_MAP,
					      P2PBUF_MOCK_FAIL, ENOMEM, 0, 1));
		ASSERT_EQ(0, ptm_move(self->mock, self->buf,
				      variant->placement, 0));
		ret = ptn_read(&self->ring, self->node, self->id, 0, DISK_READ,
			       8192);
		if (ret == 8192) {
			EXPECT_TRUE(holds(self, self->buf, 0, 8192, DISK_READ));
			continue;
		}
		failed++;
		EXPECT_EQ(-ENOMEM, ret);
		EXPECT_TRUE(poisoned(self, self->buf, 0, 8192));
	}
	EXPECT_EQ(20, failed);
}

/*
 * Stopped while the exporter maps for it: an exporter that is interruptible
 * gives up, but that is no error of the I/O.
 */
TEST_F_TIMEOUT(device, stopped_while_the_exporter_maps, 60)
{
	struct ptn_io io = { .op = PTN_READ, .dev = DISK_READ, .len = SLOT };
	unsigned int i;
	pid_t child;
	int status;

	ASSERT_EQ(0, bind_buffer(self, variant->flags));
	io.id = self->id;
	ASSERT_EQ(0, ptm_move(self->mock, self->buf, variant->placement, 0));
	ASSERT_EQ(0, poison(self, self->buf, 0, SIZE));
	ASSERT_EQ(0, ptm_rule(self->mock, self->buf, P2PBUF_MOCK_OP_MAP,
			      P2PBUF_MOCK_STALL_SIGNAL, 2000, 0, 0));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		struct io_uring ring;

		if (io_uring_queue_init(DEPTH, &ring, 0))
			_exit(1);
		for (i = 0; i < 4; i++) {
			io.buf = i * SLOT;
			ptn_prep(ptn_sqe(&ring), self->node, &io);
		}
		if (io_uring_submit(&ring) != 4)
			_exit(2);
		for (i = 0; i < 4; i++)
			if (ptn_wait(&ring, NULL) != (int)SLOT)
				_exit(3);
		_exit(0);
	}
	for (i = 0; i < 3; i++) {
		ASSERT_TRUE(ptm_until(MOCK_BUFFER().locked));
		ASSERT_EQ(0, kill(child, SIGSTOP));
		ptm_sleep_ms(PTM_SHORT_MS);
		ASSERT_EQ(0, kill(child, SIGCONT));
	}
	ASSERT_EQ(0, ptm_call(self->mock, P2PBUF_MOCK_CLEAR_RULES, self->buf));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
	EXPECT_LT(0, MOCK_BUFFER().map_failures);
	for (i = 0; i < 4; i++)
		EXPECT_TRUE(holds(self, self->buf, i * SLOT, SLOT, DISK_READ));
}

/* ---- moves under load ------------------------------------------------------------------ */

/* DEPTH reads at a time, each into a slot of its own; then look at all. */
static int read_round(struct _test_data_device *self, unsigned int round)
{
	struct ptn_io io = { .op = PTN_READ, .id = self->id, .len = SLOT };
	unsigned int i;

	for (i = 0; i < DEPTH; i++) {
		io.buf = i * SLOT;
		io.dev = DISK_READ + (round + i) % DEPTH * 512;
		ptn_prep(ptn_sqe(&self->ring), self->node, &io);
	}
	if (io_uring_submit(&self->ring) != DEPTH)
		return -EIO;
	for (i = 0; i < DEPTH; i++) {
		int ret = ptn_wait(&self->ring, NULL);

		if (ret != (int)SLOT)
			return ret < 0 ? ret : -EMSGSIZE;
	}
	for (i = 0; i < DEPTH; i++)
		if (!holds(self, self->buf, i * SLOT, SLOT,
			   DISK_READ + (round + i) % DEPTH * 512))
			return -EILSEQ;
	return 0;
}

/*
 * So many rounds, or as few as show it if there were moves enough by then: with
 * its checkers a kernel moves many times for each round.
 */
static bool moved_enough(const struct ptm_mover *m, unsigned int round)
{
	return round >= 40 ||
	       (round >= 10 && __atomic_load_n(&m->moves,
					       __ATOMIC_RELAXED) >= 100);
}

TEST_F_TIMEOUT(device, moves_under_load, 100)
{
	struct ptm_mover mover;
	unsigned int round;

	ASSERT_EQ(0, bind_buffer(self, variant->flags));
	ASSERT_EQ(0, ptm_mover_start(&mover, self->mock, self->buf,
				     variant->placement));
	for (round = 0; !moved_enough(&mover, round); round++) {
		ASSERT_EQ(0, poison(self, self->buf, 0, SIZE));
		ASSERT_EQ(0, read_round(self, round));
	}
	EXPECT_EQ(0, ptm_mover_stop(&mover));
}

/* Another one binds, reads a slot and goes. */
static int neighbour_reads(struct _test_data_device *self, __u32 flags)
{
	int node = ptn_open(), id, ret;

	if (node < 0)
		return node;
	id = ptn_bind(node, self->buf, self->disk.fd, flags);
	ret = id < 0 ? id : ptn_read(&self->ring, node, id, 0, DISK_READ, SLOT);
	close(node);
	return ret;
}

/* An exporter that moves, and takes its time over each call. */
TEST_F_TIMEOUT(device, moves_of_a_slow_exporter, 100)
{
	static const __u32 ops[] = {
		P2PBUF_MOCK_OP_ATTACH, P2PBUF_MOCK_OP_MAP,
		P2PBUF_MOCK_OP_UNMAP, P2PBUF_MOCK_OP_DETACH,
	};
	struct ptm_mover mover;
	unsigned int i, round = 0;

	ASSERT_EQ(0, bind_buffer(self, variant->flags));
	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		ASSERT_EQ(0, ptm_rule(self->mock, self->buf, ops[i],
				      P2PBUF_MOCK_STALL, 10, 0, 0));
	ASSERT_EQ(0, ptm_mover_start(&mover, self->mock, self->buf,
				     variant->placement));
	for (round = 0; round < 10; round++) {
		ASSERT_EQ(0, poison(self, self->buf, 0, SIZE));
		ASSERT_EQ((int)SLOT, neighbour_reads(self, variant->flags));
		ASSERT_TRUE(holds(self, self->buf, 0, SLOT, DISK_READ));
		ASSERT_EQ(0, read_round(self, round));
	}
	EXPECT_EQ(0, ptm_mover_stop(&mover));
	/* A ring may keep a file for a moment longer. */
	EXPECT_TRUE(ptm_until(MOCK_BUFFER().detaches == 10));
}

/* Each part of a long command may meet another generation. */
TEST_F_TIMEOUT(device, moves_under_long_commands, 100)
{
	struct ptm_mover mover;
	unsigned int round;

	ASSERT_EQ(0, bind_buffer(self, variant->flags));
	ASSERT_EQ(0, ptm_mover_start(&mover, self->mock, self->buf,
				     variant->placement));
	for (round = 0; !moved_enough(&mover, round); round++) {
		ASSERT_EQ(0, poison(self, self->buf, 0, SIZE));
		ASSERT_EQ((int)SIZE, ptn_read(&self->ring, self->node,
					      self->id, 0, DISK_READ, SIZE));
		ASSERT_TRUE(holds(self, self->buf, 0, SIZE, DISK_READ));
	}
	EXPECT_EQ(0, ptm_mover_stop(&mover));
}

/*
 * 2, 4: the submitter does not run any more, with I/O in flight whose
 * completions nobody takes. The exporter gets its memory all the same.
 */
TEST_F_TIMEOUT(device, submitter_is_stopped, 60)
{
	struct ptn_io io = { .op = PTN_READ, .dev = DISK_READ, .len = SLOT };
	int status, round;
	unsigned int i;

	ASSERT_EQ(0, bind_buffer(self, variant->flags));
	io.id = self->id;
	for (round = 0; round < 5; round++) {
		pid_t child = fork();

		ASSERT_LE(0, child);
		if (!child) {
			struct io_uring ring;

			if (io_uring_queue_init(DEPTH, &ring,
						IORING_SETUP_SINGLE_ISSUER |
						IORING_SETUP_DEFER_TASKRUN))
				_exit(1);
			for (i = 0; i < DEPTH; i++) {
				io.buf = i * SLOT;
				ptn_prep(ptn_sqe(&ring), self->node, &io);
			}
			if (io_uring_submit(&ring) != DEPTH)
				_exit(2);
			raise(SIGSTOP);
			for (i = 0; i < DEPTH; i++)
				if (ptn_wait(&ring, NULL) != (int)SLOT)
					_exit(3);
			_exit(0);
		}
		ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
		ASSERT_TRUE(WIFSTOPPED(status));
		EXPECT_EQ(0, ptm_move(self->mock, self->buf,
				      variant->placement, 0));
		ASSERT_EQ(0, kill(child, SIGCONT));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		ASSERT_TRUE(WIFEXITED(status));
		EXPECT_EQ(0, WEXITSTATUS(status));
	}
}

/* Killed while its I/O waits for the exporter: it dies, and all is as before. */
TEST_F_TIMEOUT(device, submitter_is_killed, 60)
{
	struct ptn_io io = { .op = PTN_READ, .dev = DISK_READ, .len = SLOT };
	int fence, status, round;
	unsigned int i;

	ASSERT_EQ(0, bind_buffer(self, variant->flags));
	io.id = self->id;
	for (round = 0; round < 5; round++) {
		pid_t child;

		ASSERT_EQ(0, ptm_move(self->mock, self->buf,
				      variant->placement, 0));
		ASSERT_EQ(0, poison(self, self->buf, 0, SIZE));
		fence = PENDING();
		ASSERT_LT(0, fence);
		child = fork();
		ASSERT_LE(0, child);
		if (!child) {
			struct io_uring ring;

			if (io_uring_queue_init(DEPTH, &ring, 0))
				_exit(1);
			for (i = 0; i < DEPTH; i++) {
				io.buf = i * SLOT;
				ptn_prep(ptn_sqe(&ring), self->node, &io);
			}
			io_uring_submit(&ring);
			for (;;)
				pause();
		}
		/* Some of it is with workers, some not yet submitted. */
		ptm_sleep_ms(round * 10);
		ASSERT_EQ(0, kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
		ASSERT_EQ(0, SIGNAL(fence));
		EXPECT_EQ((int)SLOT, ptn_read(&self->ring, self->node,
					      self->id, 0, DISK_READ, SLOT));
		EXPECT_TRUE(holds(self, self->buf, 0, SLOT, DISK_READ));
	}
}

/* ---- places --------------------------------------------------------------------------- */

/* The buffer goes to host memory and comes back. */
TEST_F(device, follows_or_refuses)
{
	struct p2pbuf_nvme_bind_info info;
	int strict;

	if (variant->placement != P2PBUF_MOCK_BAR)
		SKIP(return, "no BAR");
	if (ptm_topology("swiotlb"))
		SKIP(return, "host memory needs bounce buffers here");
	ASSERT_EQ(0, bind_buffer(self, 0));
	strict = ptn_bind(self->node, self->buf, self->disk.fd,
			  P2PBUF_NVME_BIND_PEER_ONLY);
	ASSERT_LT(0, strict);
	EXPECT_EQ(4096, ptn_read(&self->ring, self->node, self->id, 0,
				 DISK_READ, 4096));
	EXPECT_EQ(4096, ptn_read(&self->ring, self->node, strict, 4096,
				 DISK_READ, 4096));

	ASSERT_EQ(0, ptm_move(self->mock, self->buf, P2PBUF_MOCK_PAGES, 0));
	EXPECT_EQ(4096, ptn_read(&self->ring, self->node, self->id, 8192,
				 DISK_READ, 4096));
	EXPECT_EQ(-EREMOTEIO, ptn_read(&self->ring, self->node, strict, 0,
				       DISK_READ, 4096));
	EXPECT_EQ(-EREMOTEIO, ptn_bind(self->node, self->buf, self->disk.fd,
				       0));

	ASSERT_EQ(0, ptm_move(self->mock, self->buf, P2PBUF_MOCK_BAR, 0));
	EXPECT_EQ(4096, ptn_read(&self->ring, self->node, strict, 12288,
				 DISK_READ, 4096));
	ASSERT_EQ(0, ptn_info(self->node, self->id, &info));
	EXPECT_EQ(4096, info.bytes_peer);
	EXPECT_EQ(4096, info.bytes_system);
	EXPECT_TRUE(holds(self, self->buf, 0, 4096, DISK_READ));
	EXPECT_TRUE(holds(self, self->buf, 4096, 4096, DISK_READ));
	EXPECT_TRUE(holds(self, self->buf, 8192, 4096, DISK_READ));
	EXPECT_TRUE(holds(self, self->buf, 12288, 4096, DISK_READ));
	EXPECT_EQ(0, ptn_unbind(self->node, strict));
}

/* Host memory comes first: the BAR behind it is flushed all the same. */
TEST_F(device, flush_of_a_mixture)
{
	struct p2pbuf_probe_make make = {
		.nr = 2,
		.segment = {
			{ .len = 65536, .kind = P2PBUF_PROBE_RAM,
			  .hole = P2PBUF_PROBE_NO_HOLE },
			{ .len = 65536, .kind = P2PBUF_PROBE_MMIO,
			  .hole = P2PBUF_PROBE_NO_HOLE },
		},
	};
	struct ptn_io io = {
		.op = PTN_READ, .dev = DISK_READ, .len = 131072,
		.flags = P2PBUF_NVME_FLUSH,
	};
	struct pci_bar bar;
	int probe, id;

	if (variant->placement != P2PBUF_MOCK_BAR)
		SKIP(return, "no BAR");
	if (ptm_topology("swiotlb"))
		SKIP(return, "host memory needs bounce buffers here");
	if (ptk_run("modprobe p2pbuf_probe"))
		SKIP(return, "no probe");
	probe = open(P2PBUF_PROBE_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, probe);
	ASSERT_EQ(0, pci_bar_read(self->bar.name, 2, &bar));
	make.segment[1].addr = bar.start;
	ASSERT_EQ(0, ioctl(probe, P2PBUF_PROBE_MAKE, &make));
	id = ptn_bind(self->node, make.fd, self->disk.fd,
		      P2PBUF_NVME_BIND_ALLOW_SYSTEM);
	ASSERT_LT(0, id)
		TH_LOG("%s", strerror(-id));
	io.id = id;
	EXPECT_EQ((int)io.len, ptn_io(&self->ring, self->node, &io));
	EXPECT_EQ(0, ptn_unbind(self->node, id));
	close(make.fd);
	close(probe);
}

/* The mapping goes, too, when the exporter's device does. */
TEST_F(device, exporter_is_unbound)
{
	if (variant->placement != P2PBUF_MOCK_BAR)
		SKIP(return, "no BAR");
	ASSERT_EQ(0, bind_buffer(self, 0));
	EXPECT_EQ(4096, ptn_read(&self->ring, self->node, self->id, 0,
				 DISK_READ, 4096));
	ASSERT_EQ(0, ptm_unbind(self->bar.name));
	EXPECT_EQ(-ENODEV, ptn_read(&self->ring, self->node, self->id, 0,
				    DISK_READ, 4096));
	EXPECT_EQ(0, MOCK_BUFFER().live);
	ASSERT_EQ(0, ptm_bind_to(self->bar.name, P2PBUF_MOCK_DRIVER));
	EXPECT_EQ(-ENODEV, ptn_read(&self->ring, self->node, self->id, 0,
				    DISK_READ, 4096));
}

TEST_HARNESS_MAIN
