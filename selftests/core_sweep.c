// SPDX-License-Identifier: GPL-2.0
/*
 * Failure sweep over the core and the NVMe importer: attach, map, remap, move,
 * revoke, unbind, bind and submit are each played again and again with the
 * first, the second, the third ... thing that can fail failing. Each time the
 * call says so or succeeds all the same, nothing is left behind, and the next
 * try works, down to the bytes.
 *
 * Needs a kernel that injects faults; on others it is skipped.
 */
#include <liburing.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_nvme.h"
#include "p2pbuf_test_core.h"
#include "p2pbuf_test_sweep.h"

FIXTURE(sweep) {
	struct ptc c;		/* the devices; buffer and importer come and go */
	struct ptn_disk disk;
	struct io_uring ring;
	int node;
	int base;		/* attachments that exist anyhow */
};

FIXTURE_VARIANT(sweep) { __u32 placement; };
FIXTURE_VARIANT_ADD(sweep, pages) { .placement = P2PBUF_MOCK_PAGES, };
FIXTURE_VARIANT_ADD(sweep, bar) { .placement = P2PBUF_MOCK_BAR, };

FIXTURE_SETUP(sweep)
{
	const char *why = pts_impossible();
	int ret;

	*self = (struct _test_data_sweep){
		.c = { .mock = -1, .buf = -1, .imp = -1 },
		.disk = { .fd = -1, .direct = -1 },
		.ring = { .ring_fd = -1 },
		.node = -1,
	};
	if (!why)
		why = ptc_hopeless(variant->placement);
	if (why)
		SKIP(return, "%s", why);
	ret = ptc_open(&self->c, variant->placement);
	if (ret == -ENOENT || ret == -ENODEV)
		SKIP(return, "no mock, or no function to lend to it");
	ASSERT_EQ(0, ret);
	close(self->c.mock);
	self->c.mock = -1;
	self->base = ptk_lines(PTS_ATTACHMENTS);
	ASSERT_LE(0, self->base);
}

FIXTURE_TEARDOWN(sweep)
{
	if (self->ring.ring_fd >= 0)
		io_uring_queue_exit(&self->ring);
	ptn_disk_close(&self->disk);
	close(self->node);
	ptc_teardown(&self->c);
}

/* A fresh setting on the devices of the fixture. */
static int begin(struct ptc *c, bool import)
{
	c->imp = -1;
	c->mock = ptm_open();
	if (c->mock < 0)
		return c->mock;
	c->buf = ptm_create(c->mock, PTC_SIZE, c->placement,
			    P2PBUF_MOCK_SHUFFLE);
	if (c->buf < 0)
		return c->buf;
	if (import)
		c->imp = ptm_import(c->mock, c->buf, P2PBUF_MOCK_CORE,
				    c->dev.name, 0);
	return import && c->imp < 0 ? c->imp : 0;
}

/* An I/O from beginning to end, by whatever there is. */
static bool works(struct ptc *c)
{
	static __u64 value;

	value++;
	return !ptm_io(c->mock, c->imp, 8, value, 0) &&
	       ptm_until(!ptm_import_info(c->mock, c->imp).active) &&
	       ptm_word(c->mock, c->buf, 8) == value;
}

static void end(struct ptc *c)
{
	close(c->buf);
	close(c->mock);
	c->mock = -1;
	c->buf = -1;
	c->imp = -1;
}

/* A point of a call that may need an importer. */
struct point {
	struct pts_point point;
	bool import;
};

/* Look at what the last round left, and begin another; false: that was all. */
static bool next_point(struct __test_metadata *_metadata,
		       struct _test_data_sweep *self, struct point *p)
{
	if (p->point.nth) {
		PTC_EXPECT_CLEAN(&self->c);
		end(&self->c);
		EXPECT_TRUE(ptm_until(ptk_lines(PTS_ATTACHMENTS) == self->base));
	}
	if (!pts_next(_metadata, &p->point))
		return false;
	ASSERT_EQ(0, begin(&self->c, p->import));
	return true;
}

/* After the call that was armed. */
static void judge_point(struct __test_metadata *_metadata, struct point *p,
			int ret)
{
	pts_judge(_metadata, &p->point, ret, pts_expected(ret));
}

/* @call with the nth thing failing; ret is what it returned. */
#define HIT(p, call) do {						\
	pts_arm((p).point.nth);						\
	ret = (call);							\
	judge_point(_metadata, &(p), ret);				\
} while (0)

#define CALL(cmd)	ptm_call(self->c.mock, cmd, self->c.imp)

TEST_F_TIMEOUT(sweep, attach, 100)
{
	struct point p = { .point.what = "attach" };
	int ret, imp;

	while (next_point(_metadata, self, &p)) {
		pts_arm(p.point.nth);
		imp = ptm_import(self->c.mock, self->c.buf, P2PBUF_MOCK_CORE,
				 self->c.dev.name, 0);
		ret = imp < 0 ? imp : 0;
		judge_point(_metadata, &p, ret);
		if (ret)
			imp = ptm_import(self->c.mock, self->c.buf,
					 P2PBUF_MOCK_CORE, self->c.dev.name, 0);
		ASSERT_LT(0, imp);
		self->c.imp = imp;
		EXPECT_TRUE(works(&self->c));
	}
}

TEST_F_TIMEOUT(sweep, map, 100)
{
	struct point p = { .point.what = "map", .import = true };
	int ret;

	while (next_point(_metadata, self, &p)) {
		HIT(p, CALL(P2PBUF_MOCK_MAP));
		EXPECT_EQ(!ret, BUFFER().live);
		EXPECT_EQ(!ret, IMPORTER().mapped);
		EXPECT_TRUE(works(&self->c));
	}
}

TEST_F_TIMEOUT(sweep, remap, 100)
{
	struct point p = { .point.what = "remap", .import = true };
	int ret;

	while (next_point(_metadata, self, &p)) {
		ASSERT_EQ(0, CALL(P2PBUF_MOCK_MAP));
		HIT(p, CALL(P2PBUF_MOCK_REMAP));
		EXPECT_TRUE(works(&self->c));
		EXPECT_EQ(1, BUFFER().live);
	}
}

/*
 * The importer is told in the exporter's context. Where it gets no slot for
 * its fence it waits, which shows in a counter, and nothing else may.
 */
static int move_active(struct ptc *c, __u32 flags)
{
	struct p2pbuf_mock_move arg = ptm_move_arg(c->buf, c->placement, flags);

	return ptm_ioctl(c->mock, P2PBUF_MOCK_MOVE, &arg);
}

/* I/O under way, and a list of fences that has no room. */
static int prepare_move(struct ptc *c, unsigned int others)
{
	int ret = 0;

	while (others-- && ret >= 0)
		ret = ptm_fence(c->mock, c->buf, P2PBUF_MOCK_BOOKKEEP, 0,
				P2PBUF_MOCK_BACKGROUND);
	return ret < 0 ? ret : ptm_io(c->mock, c->imp, 16, 77, 3000);
}

TEST_F_TIMEOUT(sweep, move, 100)
{
	static const __u32 flags[] = {
		0, P2PBUF_MOCK_RESERVE_FIRST, P2PBUF_MOCK_PIPELINED,
	};
	unsigned int i, waits = 0;
	int ret;

	for (i = 0; i < 3; i++) {
		struct point p = { .point.what = "move", .import = true };

		while (next_point(_metadata, self, &p)) {
			ASSERT_EQ(0, prepare_move(&self->c, 3));
			HIT(p, move_active(&self->c, flags[i]));
			waits += IMPORTER().inline_waits;
			EXPECT_TRUE(works(&self->c));
			EXPECT_EQ(77, ptm_word(self->c.mock, self->c.buf, 16));
		}
	}
	/* The way out of invariant 3 was taken, and is as good. */
	printf("# %u waits for want of a slot\n", waits);
	EXPECT_LT(0, waits);
}

TEST_F_TIMEOUT(sweep, revoke, 100)
{
	struct point p = { .point.what = "revoke", .import = true };
	unsigned int waits = 0;
	int ret;

	while (next_point(_metadata, self, &p)) {
		ASSERT_EQ(0, prepare_move(&self->c, 3));
		HIT(p, CALL(P2PBUF_MOCK_DETACH));
		waits += IMPORTER().inline_waits;
		/* It cannot fail, only wait. */
		EXPECT_EQ(0, ret);
		EXPECT_EQ(1, IMPORTER().revoked);
		EXPECT_EQ(77, ptm_word(self->c.mock, self->c.buf, 16));
	}
	EXPECT_LT(0, waits);
}

TEST_F_TIMEOUT(sweep, unbind, 200)
{
	struct point p = { .point.what = "unbind", .import = true };
	int ret;

	/* Of the driver core and of ACPI only what the core itself calls. */
	ASSERT_EQ(0, pts_only("p2pbuf_core"));
	while (next_point(_metadata, self, &p)) {
		ASSERT_EQ(0, prepare_move(&self->c, 3));
		HIT(p, ptm_unbind(self->c.dev.name));
		if (ret)
			EXPECT_EQ(0, ptm_unbind(self->c.dev.name));
		EXPECT_EQ(1, IMPORTER().revoked);
		EXPECT_EQ(1, IMPORTER().dead);
		EXPECT_EQ(77, ptm_word(self->c.mock, self->c.buf, 16));
		ASSERT_EQ(0, ptm_bind_to(self->c.dev.name,
					 P2PBUF_MOCK_DRIVER));
	}
}

/* ---- the NVMe importer ------------------------------------------------------------- */

static const char *open_nvme(struct _test_data_sweep *self)
{
	self->node = ptn_open();
	if (self->node < 0)
		return "no " PTN_NODE;
	if (ptn_disk_open("main", &self->disk))
		return "no drive with serial number main";
	if (io_uring_queue_init(8, &self->ring, 0))
		return "no ring";
	return NULL;
}

static int bind_buffer(struct _test_data_sweep *self, int fd,
		       struct p2pbuf_nvme_bind *out)
{
	*out = (struct p2pbuf_nvme_bind){
		.size = sizeof(*out),
		.flags = P2PBUF_NVME_BIND_ALLOW_SYSTEM,
		.dmabuf_fd = fd,
		.bdev_fd = self->disk.fd,
	};
	return ptx_ioctl(self->node, P2PBUF_NVME_BIND, out);
}

static int bind_it(struct _test_data_sweep *self, struct p2pbuf_nvme_bind *out)
{
	return bind_buffer(self, self->c.buf, out);
}

#define LEN		8192

/* Written to the drive and read back to another place, which was poisoned. */
static bool nvme_works_on(struct _test_data_sweep *self, int buf, __u32 id)
{
	static __u64 words[2 * LEN / 8], seed = 1000;

	ptn_fill(words, LEN, ++seed, 0);
	ptn_poison(words + LEN / 8, LEN);
	return !ptm_data(self->c.mock, buf, true, 0, words, 2 * LEN) &&
	       ptn_write(&self->ring, self->node, id, 0, 0, LEN) == LEN &&
	       ptn_read(&self->ring, self->node, id, LEN, 0, LEN) == LEN &&
	       !ptm_data(self->c.mock, buf, false, 0, words, 2 * LEN) &&
	       ptn_check(words, LEN, seed, 0) == LEN &&
	       ptn_check(words + LEN / 8, LEN, seed, 0) == LEN;
}

static bool nvme_works(struct _test_data_sweep *self, __u32 id)
{
	return nvme_works_on(self, self->c.buf, id);
}

TEST_F_TIMEOUT(sweep, nvme_bind, 200)
{
	struct point p = { .point.what = "nvme bind" };
	const char *why = open_nvme(self);
	struct p2pbuf_nvme_bind bind;
	int ret;

	if (why)
		SKIP(return, "%s", why);
	while (next_point(_metadata, self, &p)) {
		HIT(p, bind_it(self, &bind));
		EXPECT_EQ(!ret, BUFFER().live);
		EXPECT_EQ(!ret, BUFFER().attaches - BUFFER().detaches);
		if (ret)
			ASSERT_EQ(0, bind_it(self, &bind));
		EXPECT_TRUE(nvme_works(self, bind.id));
		EXPECT_EQ(0, ptn_unbind(self->node, bind.id));
	}
}

/* The second binding of a buffer shares what the first one has. */
TEST_F_TIMEOUT(sweep, nvme_bind_second, 200)
{
	struct point p = { .point.what = "second nvme bind" };
	const char *why = open_nvme(self);
	struct p2pbuf_nvme_bind first, second;
	int ret;

	if (why)
		SKIP(return, "%s", why);
	while (next_point(_metadata, self, &p)) {
		ASSERT_EQ(0, bind_it(self, &first));
		HIT(p, bind_it(self, &second));
		EXPECT_TRUE(nvme_works(self, first.id));
		if (ret)
			ASSERT_EQ(0, bind_it(self, &second));
		EXPECT_TRUE(nvme_works(self, second.id));
		EXPECT_EQ(0, ptn_unbind(self->node, first.id));
		EXPECT_EQ(0, ptn_unbind(self->node, second.id));
	}
}

TEST_F_TIMEOUT(sweep, nvme_unbind, 200)
{
	struct point p = { .point.what = "nvme unbind" };
	const char *why = open_nvme(self);
	struct p2pbuf_nvme_bind bind;
	int ret;

	if (why)
		SKIP(return, "%s", why);
	while (next_point(_metadata, self, &p)) {
		ASSERT_EQ(0, bind_it(self, &bind));
		HIT(p, ptn_unbind(self->node, bind.id));
		if (ret)
			EXPECT_EQ(0, ptn_unbind(self->node, bind.id));
		EXPECT_EQ(0, BUFFER().live);
	}
}

TEST_F_TIMEOUT(sweep, nvme_info, 200)
{
	struct point p = { .point.what = "nvme info" };
	const char *why = open_nvme(self);
	struct p2pbuf_nvme_bind_info info;
	struct p2pbuf_nvme_bind bind;
	int ret;

	if (why)
		SKIP(return, "%s", why);
	while (next_point(_metadata, self, &p)) {
		ASSERT_EQ(0, bind_it(self, &bind));
		HIT(p, ptn_info(self->node, bind.id, &info));
		EXPECT_TRUE(nvme_works(self, bind.id));
		EXPECT_EQ(0, ptn_unbind(self->node, bind.id));
	}
}

/* One that waits where waiting is allowed: in a worker of io_uring. */
static int write_in_worker(struct _test_data_sweep *self, __u32 id)
{
	struct ptn_io io = { .op = PTN_WRITE, .id = id, .len = LEN };
	struct io_uring_sqe *sqe = ptn_sqe(&self->ring);

	ptn_prep(sqe, self->node, &io);
	sqe->flags |= IOSQE_ASYNC;
	return io_uring_submit(&self->ring) == 1 ? ptn_wait(&self->ring, NULL) :
						   -EBADE;
}

/* After a move the buffer is mapped anew by the first command's worker. */
TEST_F_TIMEOUT(sweep, nvme_remap, 200)
{
	struct point p = { .point.what = "nvme remap in a worker" };
	/* There is one, so it is known which. */
	unsigned int workers[2] = { 1, 1 };
	const char *why = open_nvme(self);
	struct p2pbuf_nvme_bind bind;
	int ret;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, io_uring_register_iowq_max_workers(&self->ring, workers));
	while (next_point(_metadata, self, &p)) {
		ASSERT_EQ(0, bind_it(self, &bind));
		EXPECT_EQ(LEN, write_in_worker(self, bind.id));
		ASSERT_EQ(0, ptm_move(self->c.mock, self->c.buf,
				      self->c.placement, 0));
		EXPECT_EQ(0, BUFFER().live);
		ASSERT_EQ(0, pts_aim(pts_io_worker()));
		pts_arm(p.point.nth);
		ret = ptn_write(&self->ring, self->node, bind.id, 0, 0, LEN);
		judge_point(_metadata, &p, ret == LEN ? 0 : ret);
		pts_aim(0);
		EXPECT_EQ(ret == LEN, BUFFER().live);
		EXPECT_TRUE(nvme_works(self, bind.id));
		EXPECT_EQ(0, ptn_unbind(self->node, bind.id));
	}
}

/*
 * Submission, whole and in parts. The failure may hit the ring as well, which
 * then takes no command; a command that was taken completes exactly once.
 */
static int submit_one(struct _test_data_sweep *self, __u32 id, __u32 len)
{
	struct ptn_io io = { .op = PTN_WRITE, .id = id, .len = len };
	int ret;

	ptn_prep(ptn_sqe(&self->ring), self->node, &io);
	ret = io_uring_submit(&self->ring);
	return ret < 0 ? ret : 0;
}

static int reap_one(struct _test_data_sweep *self, int submitted, __u32 len)
{
	int ret;

	/* Left in the ring by a failed submission. */
	if (submitted)
		submitted = io_uring_submit(&self->ring) < 0;
	if (submitted)
		return -EBADE;
	ret = ptn_wait(&self->ring, NULL);
	return ret == (int)len ? 0 : ret;
}

/* Longer than the drive takes at once. */
#define PARTS	(5 * PTN_MIB / 2)

/* On the drive is what was in the buffer, or nobody said so. */
static bool is_written(struct _test_data_sweep *self, char *bytes, __u64 seed,
		       __u32 len, int ret)
{
	ptn_poison(bytes, len);
	return ret || (!ptn_disk_read(&self->disk, bytes, len, 0) &&
		       ptn_check(bytes, len, seed, 0) == len);
}

static int prepare_submit(struct _test_data_sweep *self, int fd, char *bytes,
			  __u64 seed)
{
	int ret;

	ptn_poison(bytes, PARTS);
	ret = ptn_disk_write(&self->disk, bytes, PARTS, 0);
	if (ret)
		return ret;
	ptn_fill(bytes, PARTS, seed, 0);
	return ptm_data(self->c.mock, fd, true, 0, bytes, PARTS);
}

static void submit_sweep(struct __test_metadata *_metadata,
			 struct _test_data_sweep *self, __u32 len)
{
	/* A command in one piece needs nothing that could be lacking. */
	struct point p = { .point.what = "nvme submission", .point.sure = len < PARTS };
	struct p2pbuf_nvme_bind bind;
	char *bytes = ptn_memory(PARTS);
	int ret, fd;

	ASSERT_NE(NULL, bytes);
	while (next_point(_metadata, self, &p)) {
		fd = ptm_create(self->c.mock, PARTS, self->c.placement, 0);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, bind_buffer(self, fd, &bind));
		ASSERT_GT(PARTS, bind.max_io);
		ASSERT_EQ(0, prepare_submit(self, fd, bytes, p.point.nth));
		HIT(p, submit_one(self, bind.id, len));
		ret = reap_one(self, ret, len);
		EXPECT_TRUE(pts_expected(ret));
		EXPECT_TRUE(is_written(self, bytes, p.point.nth, len, ret));
		EXPECT_TRUE(nvme_works_on(self, fd, bind.id));
		EXPECT_EQ(0, ptn_unbind(self->node, bind.id));
		close(fd);
	}
	munmap(bytes, PARTS);
}

TEST_F_TIMEOUT(sweep, nvme_submit, 200)
{
	const char *why = open_nvme(self);

	if (why)
		SKIP(return, "%s", why);
	submit_sweep(_metadata, self, LEN);
	submit_sweep(_metadata, self, PARTS);
}

TEST_HARNESS_MAIN
