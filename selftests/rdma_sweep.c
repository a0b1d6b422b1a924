// SPDX-License-Identifier: GPL-2.0
/*
 * Failure sweep over the RDMA importer: listen, connect, accept, import, grant,
 * recall, release, submit, a request that comes in and the mapping after a move
 * are each played again and again with the first, the second, the third ...
 * thing that can fail failing. Each time the call says so or succeeds all the
 * same, no connection and no attachment is left behind, and the next try works,
 * down to the bytes.
 *
 * A connection that was being made is over when that failed: the next try is
 * one with other files. Both ends are threads of one process, and only the one
 * under test is armed. The last two are done by workers of the kernel, which are
 * armed all together.
 *
 * Needs a kernel that injects faults; on others it is skipped.
 */
#include <liburing.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_mock.h"
#include "p2pbuf_test_nvme.h"
#include "p2pbuf_test_rdma.h"
#include "p2pbuf_test_rdma_other.h"
#include "p2pbuf_test_sweep.h"

#define CONNECTIONS	"/sys/kernel/debug/p2pbuf/rdma/connections"
#define BUFFER		(64 * PTN_KIB)
#define ID		PTD_WORKS_ID

FIXTURE(sweep) {
	struct ptn_buffer from;
	struct ptn_buffer to;
	struct ptd_pair pair;
};

/* What exists anyhow. */
static int attachments, connections;

static int remember(void)
{
	attachments = ptk_lines(PTS_ATTACHMENTS);
	connections = ptk_lines(CONNECTIONS);
	return attachments < 0 || connections < 0 ? -ENOENT : 0;
}

FIXTURE_SETUP(sweep)
{
	const char *why = pts_impossible();
	int ret = ptd_open();

	memset(self, 0, sizeof(*self));
	if (ret == -ENOENT)
		why = "no " PTD_NODE;
	if (why)
		SKIP(return, "%s", why);
	ASSERT_LE(0, ret);
	close(ret);
	ret = ptn_buffer_alloc(&self->from, PTN_UDMABUF, BUFFER);
	if (ret == -ENOENT)
		SKIP(return, "no udmabuf");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, ptn_buffer_alloc(&self->to, PTN_UDMABUF, BUFFER));
	ASSERT_EQ(0, remember());
}

FIXTURE_TEARDOWN(sweep)
{
	ptn_buffer_free(&self->from);
	ptn_buffer_free(&self->to);
}

/* ---- points ------------------------------------------------------------------ */

#define SWEEP FIXTURE_DATA(sweep)

/* Both ends are up, and a write of all bytes arrives. */
static bool works(SWEEP *self, int a, int b)
{
	return ptd_works(a, &self->from, b, &self->to, BUFFER);
}

/* Nothing of the last round is left; false when it was the last one. */
static bool next_point(struct __test_metadata *_metadata,
		       struct pts_point *p)
{
	if (p->nth) {
		EXPECT_TRUE(ptm_until(ptk_lines(PTS_ATTACHMENTS) == attachments));
		EXPECT_TRUE(ptm_until(ptk_lines(CONNECTIONS) == connections));
	}
	return pts_next(_metadata, p);
}

/* What the network says when it gets no memory, too. */
static bool expected(int ret)
{
	return pts_expected(ret) || ret == -ENOBUFS || ret == -ENFILE;
}

/* After the call that was armed. */
static void judge_point(struct __test_metadata *_metadata, struct pts_point *p,
			int ret)
{
	pts_judge(_metadata, p, ret, expected(ret));
}

/* How often a point is played again that no worker met, see pts_aim_workers(). */
#define WORKERS 2

/* ---- connections ------------------------------------------------------------- */

/* It puts a failure into the log, unless it is asked not to: rxe does not ask. */
#define SPARE_VMALLOC() ASSERT_EQ(0, pts_spare("__vmalloc_node_range_noprof"))

TEST_F_TIMEOUT(sweep, listen, 200)
{
	struct pts_point p = { .what = "listen" };
	struct p2pbuf_rdma_listen arg;
	int fd, ret;

	while (next_point(_metadata, &p)) {
		fd = ptd_open();
		ASSERT_LE(0, fd);
		arg = (struct p2pbuf_rdma_listen){
			.size = sizeof(arg), .addr = ptd_address(0),
		};
		pts_arm(p.nth);
		ret = ptd_ioctl(fd, P2PBUF_RDMA_LISTEN, &arg);
		judge_point(_metadata, &p, ret);
		/* The same file, if it is none yet. */
		EXPECT_LT(0, ret ? ptd_listen(fd) : arg.addr.port);
		close(fd);
	}
}

TEST_F_TIMEOUT(sweep, connect, 400)
{
	struct pts_point p = { .what = "connect" };
	struct p2pbuf_rdma_limits none = {};
	struct ptd_other o = {};
	pthread_t thread;
	int fd, ret;

	SPARE_VMALLOC();
	while (next_point(_metadata, &p)) {
		o = (struct ptd_other){ .fd = ptd_open(), .listener = ptd_open() };
		fd = ptd_open();
		ASSERT_LE(0, fd);
		ASSERT_LE(0, o.fd);
		o.port = ptd_listen(o.listener);
		ASSERT_LT(0, o.port);
		ASSERT_EQ(0, pthread_create(&thread, NULL, ptd_other_accepts, &o));
		pts_arm(p.nth);
		ret = ptd_connect(fd, o.port, none);
		judge_point(_metadata, &p, ret);
		o.stop = !!ret;
		pthread_join(thread, NULL);
		if (!ret) {
			EXPECT_EQ(0, o.ret);
			EXPECT_TRUE(works(self, fd, o.fd));
		}
		close(fd);
		close(o.fd);
		close(o.listener);
	}
}

/* The request stays with the listener, or it was refused. */
TEST_F_TIMEOUT(sweep, accept, 400)
{
	struct pts_point p = { .what = "accept" };
	struct p2pbuf_rdma_limits none = {};
	struct ptd_other o = {};
	int fd, listener, ret;
	pthread_t thread;

	SPARE_VMALLOC();
	while (next_point(_metadata, &p)) {
		listener = ptd_open();
		o = (struct ptd_other){ .fd = ptd_open() };
		fd = ptd_open();
		ASSERT_LE(0, fd);
		ASSERT_LE(0, o.fd);
		o.port = ptd_listen(listener);
		ASSERT_LT(0, o.port);
		ASSERT_EQ(0, pthread_create(&thread, NULL, ptd_other_calls, &o));
		pts_arm(p.nth);
		ret = ptd_accept(fd, listener, none);
		judge_point(_metadata, &p, ret);
		if (!ret) {
			pthread_join(thread, NULL);
			EXPECT_EQ(0, o.ret);
			EXPECT_TRUE(works(self, o.fd, fd));
		}
		close(fd);
		/* Refuses whoever still waits. */
		close(listener);
		if (ret) {
			pthread_join(thread, NULL);
			/* The call may have been answered before that. */
			EXPECT_TRUE(o.ret || ptd_outcome(o.fd));
		}
		close(o.fd);
	}
}

/*
 * One that cannot be noted down is not answered: ib_cm lets the caller ask again
 * for as long as -ENOMEM is all that was wrong.
 */
TEST_F_TIMEOUT(sweep, request, 400)
{
	struct pts_point p = { .what = "incoming request", .again = WORKERS };
	struct p2pbuf_rdma_limits none = {};
	struct ptd_other o = {};
	pthread_t thread;
	int fd, ret;

	ASSERT_EQ(0, pts_below("listen_event"));
	while (next_point(_metadata, &p)) {
		o = (struct ptd_other){ .fd = ptd_open(), .listener = ptd_open() };
		fd = ptd_open();
		ASSERT_LE(0, fd);
		ASSERT_LE(0, o.fd);
		o.port = ptd_listen(o.listener);
		ASSERT_LT(0, o.port);
		ASSERT_EQ(0, pthread_create(&thread, NULL, ptd_other_accepts, &o));
		ASSERT_EQ(0, pts_aim_workers());
		pts_arm(p.nth);
		ret = ptd_connect(fd, o.port, none);
		pts_judge(_metadata, &p, ret, !ret);
		pts_aim(0);
		o.stop = !!ret;
		pthread_join(thread, NULL);
		EXPECT_EQ(0, o.ret);
		EXPECT_TRUE(works(self, fd, o.fd));
		close(fd);
		close(o.fd);
		close(o.listener);
	}
}

/* ---- on a connection --------------------------------------------------------- */

/* Made for each point: what a failure left behind goes with it or is seen. */
static void pair_open(struct __test_metadata *_metadata, SWEEP *self)
{
	self->pair = (struct ptd_pair){};
	ASSERT_EQ(0, ptd_pair_open(&self->pair));
}

TEST_F_TIMEOUT(sweep, import, 400)
{
	struct pts_point p = { .what = "import" };
	int ret;

	while (next_point(_metadata, &p)) {
		pair_open(_metadata, self);
		pts_arm(p.nth);
		ret = ptd_import(self->pair.a.fd, self->from.dmabuf, ID);
		judge_point(_metadata, &p, ret < 0 ? ret : 0);
		EXPECT_EQ(0, ret > 0 ? ptd_release(self->pair.a.fd, ID) : 0);
		EXPECT_TRUE(works(self, self->pair.a.fd, self->pair.b.fd));
		ptd_pair_close(&self->pair);
	}
}

TEST_F_TIMEOUT(sweep, grant, 400)
{
	struct p2pbuf_rdma_remote_info info;
	struct pts_point p = { .what = "grant" };
	int ret;

	pair_open(_metadata, self);
	EXPECT_EQ(ID, ptd_import(self->pair.b.fd, self->to.dmabuf, ID));
	ASSERT_EQ(0, remember());
	while (next_point(_metadata, &p)) {
		pts_arm(p.nth);
		ret = ptd_grant(self->pair.b.fd, ID, PTD_BOTH);
		judge_point(_metadata, &p, ret);
		EXPECT_EQ(0, ret ? ptd_grant(self->pair.b.fd, ID, PTD_BOTH) : 0);
		EXPECT_EQ(0, ptd_regranted(self->pair.a.fd, ID, &info));
		EXPECT_EQ(0, ptd_recall(self->pair.b.fd, ID));
	}
	EXPECT_EQ(0, ptd_release(self->pair.b.fd, ID));
	EXPECT_TRUE(works(self, self->pair.a.fd, self->pair.b.fd));
	ptd_pair_close(&self->pair);
}

/* Of a buffer that the peer has: it is recalled on the way. */
TEST_F_TIMEOUT(sweep, release, 400)
{
	struct p2pbuf_rdma_remote_info info;
	struct pts_point p = { .what = "release" };
	int ret;

	pair_open(_metadata, self);
	ASSERT_EQ(0, remember());
	while (next_point(_metadata, &p)) {
		EXPECT_EQ(ID, ptd_import(self->pair.b.fd, self->to.dmabuf, ID));
		EXPECT_EQ(0, ptd_grant(self->pair.b.fd, ID, PTD_BOTH));
		EXPECT_EQ(0, ptd_regranted(self->pair.a.fd, ID, &info));
		pts_arm(p.nth);
		ret = ptd_release(self->pair.b.fd, ID);
		judge_point(_metadata, &p, ret);
		EXPECT_EQ(0, ret ? ptd_release(self->pair.b.fd, ID) : 0);
		EXPECT_EQ(-ENOENT, ptd_release(self->pair.b.fd, ID));
	}
	EXPECT_TRUE(works(self, self->pair.a.fd, self->pair.b.fd));
	ptd_pair_close(&self->pair);
}

TEST_F_TIMEOUT(sweep, submit, 400)
{
	const struct p2pbuf_rdma_cmd cmd = {
		.local_id = ID, .remote_id = ID, .length = BUFFER,
	};
	struct pts_point p = { .what = "submit" };
	int ret;

	pair_open(_metadata, self);
	EXPECT_TRUE(works(self, self->pair.a.fd, self->pair.b.fd));
	ASSERT_EQ(0, remember());
	while (next_point(_metadata, &p)) {
		ptd_fill(self->from.map, BUFFER, 1000 + p.nth);
		memset(self->to.map, PTD_POISON, BUFFER);
		ptd_prep(&self->pair.a.ring, self->pair.a.fd,
			 P2PBUF_RDMA_URING_WRITE, &cmd, 0);
		pts_arm(p.nth);
		ret = io_uring_submit(&self->pair.a.ring);
		p.more = pts_disarm();
		ASSERT_EQ(1, ret);
		ret = ptd_wait(&self->pair.a.ring, NULL);
		p.errors += ret != BUFFER;
		EXPECT_TRUE(ret == BUFFER || (p.more && pts_expected(ret)))
			TH_LOG("submit, point %u: %d", p.nth, ret);
		/* Nothing, or all of it. */
		EXPECT_EQ(BUFFER, ret == BUFFER ?
			  ptd_check(self->to.map, BUFFER, 1000 + p.nth) :
			  ptd_check_poison(self->to.map, BUFFER));
		ret = ptd_io(&self->pair.a.ring, self->pair.a.fd,
			     P2PBUF_RDMA_URING_WRITE, &cmd);
		EXPECT_EQ(BUFFER, ret);
		EXPECT_EQ(BUFFER, ptd_check(self->to.map, BUFFER,
					    1000 + p.nth));
	}
	ptd_pair_close(&self->pair);
}

/* ---- mappings that end ------------------------------------------------------- */

/* Two buffers of the mock, which moves them; each is mapped by its end. */
FIXTURE(mapping) {
	struct ptd_pair pair;
	int mock;
	int here;
	int there;
};

#define MAPPING FIXTURE_DATA(mapping)

FIXTURE_SETUP(mapping)
{
	const char *why = pts_impossible();
	int ret = ptd_open();

	memset(self, 0, sizeof(*self));
	self->mock = ptm_open();
	if (ret == -ENOENT)
		why = "no " PTD_NODE;
	if (self->mock == -ENOENT)
		why = "no " P2PBUF_MOCK_DEVICE;
	if (why)
		SKIP(return, "%s", why);
	ASSERT_LE(0, ret);
	close(ret);
	ASSERT_LE(0, self->mock);
	self->here = ptm_create(self->mock, BUFFER, P2PBUF_MOCK_PAGES,
				P2PBUF_MOCK_SHUFFLE);
	self->there = ptm_create(self->mock, BUFFER, P2PBUF_MOCK_PAGES,
				 P2PBUF_MOCK_SHUFFLE);
	ASSERT_LE(0, self->here);
	ASSERT_LE(0, self->there);
	ASSERT_EQ(0, ptd_pair_open(&self->pair));
	ASSERT_EQ(ID, ptd_import(self->pair.a.fd, self->here, ID));
	ASSERT_EQ(ID, ptd_import(self->pair.b.fd, self->there, ID));
	ASSERT_EQ(0, remember());
}

FIXTURE_TEARDOWN(mapping)
{
	struct p2pbuf_mock_buffer_info here, there;

	if (!self->pair.port)
		return;
	here = ptm_info(self->mock, self->here);
	there = ptm_info(self->mock, self->there);
	EXPECT_EQ(0, here.late_words + there.late_words);
	EXPECT_EQ(0, here.moved_active + there.moved_active);
	ptd_pair_close(&self->pair);
	close(self->here);
	close(self->there);
	close(self->mock);
}

/* From @from of @end to @to of the peer; nothing arrives, or all of it. */
static int write_all(MAPPING *self, struct ptd_end *end, int from, int to)
{
	const struct p2pbuf_rdma_cmd cmd = {
		.local_id = ID, .remote_id = ID, .length = BUFFER,
	};
	static __u8 bytes[BUFFER];
	static __u64 seed = 5000;
	bool good;
	int ret;

	memset(bytes, PTD_POISON, BUFFER);
	ret = ptm_data(self->mock, to, true, 0, bytes, BUFFER);
	ptd_fill(bytes, BUFFER, ++seed);
	if (!ret)
		ret = ptm_data(self->mock, from, true, 0, bytes, BUFFER);
	if (ret)
		return -EBADE;
	ret = ptd_io(&end->ring, end->fd, P2PBUF_RDMA_URING_WRITE, &cmd);
	if (ptm_data(self->mock, to, false, 0, bytes, BUFFER))
		return -EBADE;
	good = ret == BUFFER ? ptd_check(bytes, BUFFER, seed) == BUFFER :
			       ptd_check_poison(bytes, BUFFER) == BUFFER;
	return good ? ret : -EBADE;
}

static int write_there(MAPPING *self)
{
	return write_all(self, &self->pair.a, self->here, self->there);
}

static int grant_there(MAPPING *self)
{
	return ptd_grant(self->pair.b.fd, ID, PTD_BOTH);
}

/* The peer may have it, and writes to it. */
static void expect_granted(struct __test_metadata *_metadata, MAPPING *self)
{
	struct p2pbuf_rdma_remote_info info;

	EXPECT_EQ(0, ptd_regranted(self->pair.a.fd, ID, &info));
	EXPECT_EQ(BUFFER, write_there(self));
}

/* A request waits for it; when it cannot be had, that is what the request says. */
TEST_F_TIMEOUT(mapping, here, 400)
{
	struct pts_point p = { .what = "map for a request", .again = WORKERS };
	int ret;

	ASSERT_EQ(0, grant_there(self));
	expect_granted(_metadata, self);
	ASSERT_EQ(0, pts_below("buffer_map_work"));
	while (next_point(_metadata, &p)) {
		ASSERT_EQ(0, ptm_move(self->mock, self->here,
				      P2PBUF_MOCK_PAGES, 0));
		ASSERT_EQ(0, pts_aim_workers());
		pts_arm(p.nth);
		ret = write_there(self);
		judge_point(_metadata, &p, ret == BUFFER ? 0 : ret);
		pts_aim(0);
		EXPECT_EQ(BUFFER, write_there(self));
	}
}

static bool is_decided(MAPPING *self, __u64 epoch,
		       struct p2pbuf_rdma_buffer_info *info)
{
	return !ptd_buffer_info(self->pair.b.fd, ID, info) &&
	       (!info->granted || info->epoch != epoch);
}

/* It is granted; when it cannot be had, the peer is told that it is not. */
TEST_F_TIMEOUT(mapping, there, 400)
{
	struct pts_point p = { .what = "map for a grant", .again = WORKERS };
	struct p2pbuf_rdma_buffer_info info;
	__u64 epoch;

	ASSERT_EQ(0, grant_there(self));
	expect_granted(_metadata, self);
	ASSERT_EQ(0, pts_below("buffer_map_work"));
	while (next_point(_metadata, &p)) {
		ASSERT_EQ(0, ptd_buffer_info(self->pair.b.fd, ID, &info));
		epoch = info.epoch;
		ASSERT_EQ(0, pts_aim_workers());
		pts_arm(p.nth);
		EXPECT_EQ(0, ptm_move(self->mock, self->there,
				      P2PBUF_MOCK_PAGES, 0));
		EXPECT_TRUE(ptm_until(is_decided(self, epoch, &info)));
		judge_point(_metadata, &p, info.granted ? 0 : -ENOMEM);
		pts_aim(0);
		if (!info.granted)
			EXPECT_EQ(0, grant_there(self));
		expect_granted(_metadata, self);
	}
}

/* Recalled it is mapped anew, without the peer's rights. */
TEST_F_TIMEOUT(mapping, recall, 400)
{
	struct pts_point p = { .what = "recall" };
	int ret;

	while (next_point(_metadata, &p)) {
		ASSERT_EQ(0, grant_there(self));
		expect_granted(_metadata, self);
		pts_arm(p.nth);
		ret = ptd_recall(self->pair.b.fd, ID);
		judge_point(_metadata, &p, ret);
		EXPECT_EQ(0, ret ? ptd_recall(self->pair.b.fd, ID) : 0);
		EXPECT_EQ(-EALREADY, ptd_recall(self->pair.b.fd, ID));
	}
	EXPECT_EQ(0, grant_there(self));
	expect_granted(_metadata, self);
}

/* What this end writes from is mapped already, and anew with the rights. */
TEST_F_TIMEOUT(mapping, grant, 400)
{
	struct pts_point p = { .what = "grant, registered" };
	struct p2pbuf_rdma_remote_info info;
	int ret;

	ASSERT_EQ(0, ptd_grant(self->pair.a.fd, ID, PTD_BOTH));
	ASSERT_EQ(0, ptd_regranted(self->pair.b.fd, ID, &info));
	while (next_point(_metadata, &p)) {
		EXPECT_EQ(BUFFER, write_all(self, &self->pair.b, self->there,
					    self->here));
		pts_arm(p.nth);
		ret = grant_there(self);
		judge_point(_metadata, &p, ret);
		EXPECT_EQ(0, ret ? grant_there(self) : 0);
		expect_granted(_metadata, self);
		EXPECT_EQ(0, ptd_recall(self->pair.b.fd, ID));
	}
}

int main(int argc, char **argv)
{
	return ptd_main(argc, argv);
}
