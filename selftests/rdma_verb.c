// SPDX-License-Identifier: GPL-2.0
/*
 * The RDMA device lets us down: each verb that the importer calls, from the first
 * protection domain to the last work request, is refused once, in the middle of
 * whatever is going on then. Whoever asked is told, or the connection is over and
 * says why; every request completes once; no move of a buffer fails or waits for
 * it; nothing stays behind; and the next connection works.
 *
 * The device is the test NIC, which can be told to refuse; both ends of all
 * connections are on it, so a sweep goes through the verbs of both. It goes through
 * the calls of one verb after the other: how the ends' calls of different verbs
 * interleave changes from round to round.
 */
#define PTD_ADDRESS	PTV_ADDRESS

#include <liburing.h>
#include <pthread.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_mock.h"
#include "p2pbuf_test_nic.h"
#include "p2pbuf_test_rdma.h"
#include "p2pbuf_test_rdma_other.h"

#define REFUSE		"/sys/module/" PTV_MODULE "/parameters/refuse"
#define ATTACHMENTS	"/sys/kernel/debug/p2pbuf/attachments"
#define CONNECTIONS	"/sys/kernel/debug/p2pbuf/rdma/connections"
#define ID		PTD_WORKS_ID
/* Two registrations on each side, and three pieces. */
#define BUFFER		(2 * PTD_MIB + 64 * 1024)
#define SMALL		(64 * 1024)
/* More calls than a verb has in either sweep: it has gone astray. */
#define POINTS_MAX	1000

FIXTURE(verb) {
	struct ptn_buffer from;
	struct ptn_buffer to;
	int mock;
	int here;
	int there;
	int attachments;
	int connections;
};

#define VERB FIXTURE_DATA(verb)

/* What is written to the peer, and what a receiver has before. */
static __u8 pattern[BUFFER], poison[BUFFER];

FIXTURE_SETUP(verb)
{
	const char *why = NULL;
	int ret;

	memset(self, 0, sizeof(*self));
	self->mock = -1;
	if (access(PTD_NODE, F_OK))
		why = "no " PTD_NODE;
	else if (access(REFUSE, W_OK))
		why = "no test NIC";
	else if (access(P2PBUF_MOCK_DEVICE, F_OK))
		why = "no " P2PBUF_MOCK_DEVICE;
	if (why)
		SKIP(return, "%s", why);
	ret = ptn_buffer_alloc(&self->from, PTN_UDMABUF, SMALL);
	if (ret == -ENOENT)
		SKIP(return, "no udmabuf");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, ptn_buffer_alloc(&self->to, PTN_UDMABUF, SMALL));
	self->mock = ptm_open();
	ASSERT_LE(0, self->mock);
	self->here = ptm_create(self->mock, BUFFER, P2PBUF_MOCK_PAGES,
				P2PBUF_MOCK_SHUFFLE);
	self->there = ptm_create(self->mock, BUFFER, P2PBUF_MOCK_PAGES,
				 P2PBUF_MOCK_SHUFFLE);
	ASSERT_LE(0, self->here);
	ASSERT_LE(0, self->there);
	ptd_fill(pattern, BUFFER, 7);
	memset(poison, PTD_POISON, BUFFER);
	self->attachments = ptk_lines(ATTACHMENTS);
	self->connections = ptk_lines(CONNECTIONS);
	ASSERT_LE(0, self->attachments);
	ASSERT_LE(0, self->connections);
}

FIXTURE_TEARDOWN(verb)
{
	struct p2pbuf_mock_buffer_info here, there;

	if (self->mock < 0)
		return;
	here = ptm_info(self->mock, self->here);
	there = ptm_info(self->mock, self->there);
	EXPECT_EQ(0, here.late_words + there.late_words);
	EXPECT_EQ(0, here.moved_active + there.moved_active);
	close(self->here);
	close(self->there);
	close(self->mock);
	ptn_buffer_free(&self->from);
	ptn_buffer_free(&self->to);
}

/* ---- points ------------------------------------------------------------------ */

static const char * const verbs[] = {
	"alloc_pd", "create_cq", "create_qp", "modify_qp", "alloc_mr",
	"map_mr_sg", "post_recv", "post_send",
};

#define VERBS	(sizeof(verbs) / sizeof(verbs[0]))

/**
 * struct point - where a sweep is
 * @verb: place in verbs[] of the one that is refused next
 * @nth: which of its calls, from 1
 * @refused: it was
 * @counts: how many of each were
 */
struct point {
	unsigned int verb;
	unsigned int nth;
	bool refused;
	unsigned int counts[VERBS];
};

/* Nothing of the last round is left; false when it was the last one. */
static bool next_point(struct __test_metadata *_metadata, VERB *self,
		       struct point *p)
{
	if (!p->nth++)
		return true;
	EXPECT_TRUE(ptm_until(ptk_lines(ATTACHMENTS) == self->attachments));
	EXPECT_TRUE(ptm_until(ptk_lines(CONNECTIONS) == self->connections));
	ASSERT_GT(POINTS_MAX, p->nth);
	if (p->refused)
		return true;
	printf("# %s refused: %u\n", verbs[p->verb], p->counts[p->verb]);
	p->nth = 1;
	return ++p->verb < VERBS;
}

/* From here on calls of the verb count. */
static int aim(struct point *p)
{
	char text[32];

	p->refused = false;
	snprintf(text, sizeof(text), "%s %u", verbs[p->verb], p->nth);
	return ptk_write(REFUSE, text);
}

/* They do not any more. Was one refused? */
static bool look(struct point *p)
{
	char name[32] = "";
	FILE *f = fopen(REFUSE, "re");

	if (f) {
		if (fscanf(f, "%31s", name) != 1)
			*name = 0;
		fclose(f);
	}
	p->refused = !strcmp(name, verbs[p->verb]);
	if (p->refused)
		p->counts[p->verb]++;
	ptk_write(REFUSE, "none");
	return p->refused;
}

static bool is_dead(int fd)
{
	struct p2pbuf_rdma_info info;

	return !ptd_info(fd, &info) && info.state == P2PBUF_RDMA_DEAD;
}

/* In time; and the device is why, at one of the ends. */
static bool died_of_device(int a, int b)
{
	return ptd_outcome(a) == EIO || ptd_outcome(b) == EIO;
}

/* ---- a connection ------------------------------------------------------------ */

/* Who made the connection, or was to, says so, or the other end is over. */
static void judge_connection(struct __test_metadata *_metadata,
			     struct point *p, int called, int accepted, int fd,
			     int other)
{
	static const int expected[] = {
		0, -ENOMEM, -ECONNREFUSED, -ECONNABORTED, -ETIMEDOUT,
	};
	const char *verb = look(p) ? verbs[p->verb] : "nothing";
	bool known[2] = {};
	unsigned int i;

	for (i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		known[0] |= called == expected[i];
		known[1] |= accepted == expected[i];
	}
	EXPECT_TRUE(known[0] && known[1])
		TH_LOG("%u: %s: %d, %d", p->nth, verb, called, accepted);
	EXPECT_EQ(p->refused, called || accepted)
		TH_LOG("%u: %s: %d, %d", p->nth, verb, called, accepted);
	if (called || accepted) {
		/* The request never came, or whoever is up learns of the end. */
		EXPECT_TRUE(called || ptm_until(is_dead(fd)));
		EXPECT_TRUE(accepted || ptm_until(is_dead(other)));
	}
}

TEST_F_TIMEOUT(verb, connection, 300)
{
	struct p2pbuf_rdma_limits none = {};
	struct ptd_other o = {};
	struct point p = {};
	pthread_t thread;
	int fd, ret;

	while (next_point(_metadata, self, &p)) {
		o = (struct ptd_other){
			.fd = ptd_open(), .listener = ptd_open(),
		};
		fd = ptd_open();
		ASSERT_LE(0, fd);
		ASSERT_LE(0, o.fd);
		o.port = ptd_listen(o.listener);
		ASSERT_LT(0, o.port);
		ASSERT_EQ(0, pthread_create(&thread, NULL, ptd_other_accepts,
					    &o));
		ASSERT_EQ(0, aim(&p));
		ret = ptd_connect(fd, o.port, none);
		o.stop = !!ret;
		pthread_join(thread, NULL);
		judge_connection(_metadata, &p, ret, o.ret, fd, o.fd);
		close(fd);
		close(o.fd);
		close(o.listener);
	}
	/* Those that it takes to make a connection, of both ends. */
	EXPECT_EQ(2, p.counts[0]);
	EXPECT_EQ(4, p.counts[1]);
	EXPECT_EQ(4, p.counts[2]);
	EXPECT_LE(10, p.counts[3]);
	EXPECT_LE(64, p.counts[6]);
}

/* ---- on a connection --------------------------------------------------------- */

/* Bytes of @dmabuf are pattern where they are not poison; or pattern alone. */
static bool holds(VERB *self, int dmabuf, bool all)
{
	static __u8 bytes[BUFFER];
	__u64 i;

	if (ptm_data(self->mock, dmabuf, false, 0, bytes, BUFFER))
		return false;
	if (all)
		return !memcmp(bytes, pattern, BUFFER);
	for (i = 0; i < BUFFER; i++)
		if (bytes[i] != pattern[i] && bytes[i] != PTD_POISON)
			return false;
	return true;
}

/* First error of what @pair does before there is I/O. */
static int prepare(VERB *self, struct ptd_pair *pair)
{
	struct p2pbuf_rdma_remote_info info;
	int ret;

	ret = ptd_import(pair->a.fd, self->here, ID);
	if (ret == ID)
		ret = ptd_import(pair->b.fd, self->there, ID);
	if (ret == ID)
		ret = ptd_grant(pair->b.fd, ID, PTD_BOTH);
	return ret < 0 ? ret : ptd_regranted(pair->a.fd, ID, &info);
}

static int move(VERB *self, int dmabuf)
{
	/* On a slow machine connections take their time to end. */
	return ptm_move_within(self->mock, dmabuf, P2PBUF_MOCK_PAGES, 0,
			       PTM_LONG_MS * ptk_slow());
}

/* Both buffers go somewhere else; whatever the device does, they may. */
static void move_both(struct __test_metadata *_metadata, VERB *self)
{
	EXPECT_EQ(0, move(self, self->there));
	EXPECT_EQ(0, move(self, self->here));
}

/* A write and one that is told of, with a move in the middle; each completes. */
static int write_under_moves(struct __test_metadata *_metadata, VERB *self,
			     struct ptd_pair *pair)
{
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = ID, .remote_id = ID, .length = BUFFER,
	}, none = {};
	int ret, first, second, told;

	EXPECT_EQ(0, ptm_data(self->mock, self->there, true, 0, poison,
			      BUFFER));
	EXPECT_EQ(0, ptm_data(self->mock, self->here, true, 0, pattern,
			      BUFFER));
	ptd_prep(&pair->b.ring, pair->b.fd, P2PBUF_RDMA_URING_RECV, &none, 0);
	EXPECT_EQ(1, io_uring_submit(&pair->b.ring));
	ptd_prep(&pair->a.ring, pair->a.fd, P2PBUF_RDMA_URING_WRITE, &cmd, 0);
	cmd.imm = 5;
	ptd_prep(&pair->a.ring, pair->a.fd, P2PBUF_RDMA_URING_WRITE_IMM, &cmd,
		 0);
	EXPECT_EQ(2, io_uring_submit(&pair->a.ring));
	move_both(_metadata, self);
	first = ptd_wait(&pair->a.ring, NULL);
	second = ptd_wait(&pair->a.ring, NULL);
	EXPECT_TRUE(holds(self, self->there,
			  first == BUFFER && second == BUFFER));
	ret = first < 0 ? first : second < 0 ? second : 0;
	/* Who waits for a word that was never sent waits for the end. */
	if (ret && !is_dead(pair->b.fd))
		EXPECT_EQ(0, ptd_shutdown(pair->b.fd));
	told = ptd_wait(&pair->b.ring, NULL);
	EXPECT_TRUE(told == 5 || told == -ECONNRESET || told == -ENOTCONN)
		TH_LOG("RECV: %d", told);
	return ret ? ret : told < 0 ? told : 0;
}

/* What was written comes back. */
static int read_back(struct __test_metadata *_metadata, VERB *self,
		     struct ptd_pair *pair)
{
	const struct p2pbuf_rdma_cmd cmd = {
		.local_id = ID, .remote_id = ID, .length = BUFFER,
		.flags = P2PBUF_RDMA_FLUSH,
	};
	int ret;

	EXPECT_EQ(0, ptm_data(self->mock, self->here, true, 0, poison,
			      BUFFER));
	ret = ptd_io(&pair->a.ring, pair->a.fd, P2PBUF_RDMA_URING_READ, &cmd);
	EXPECT_TRUE(holds(self, self->here, ret == BUFFER));
	return ret == BUFFER ? 0 : ret;
}

/* All of it, or up to the first error, which is returned. */
static int use(struct __test_metadata *_metadata, VERB *self,
	       struct ptd_pair *pair)
{
	int ret = prepare(self, pair);

	if (!ret)
		ret = write_under_moves(_metadata, self, pair);
	if (!ret)
		ret = read_back(_metadata, self, pair);
	if (!ret)
		ret = ptd_recall(pair->b.fd, ID);
	if (!ret)
		ret = ptd_release(pair->a.fd, ID);
	return ret;
}

/* Told by the call, by the connection, or by both. */
static void judge_use(struct __test_metadata *_metadata, struct point *p,
		      struct ptd_pair *pair, int ret)
{
	const char *verb = look(p) ? verbs[p->verb] : "nothing";
	bool maps = !strcmp(verb, "map_mr_sg");

	/* A peer that cannot map withdraws its grant. */
	EXPECT_TRUE(!ret || ret == -ENOMEM || ret == -EIO ||
		    ret == -ECONNRESET || ret == -ENOTCONN ||
		    (maps && ret == -EACCES))
		TH_LOG("%u: %s: %d", p->nth, verb, ret);
	if (!p->refused) {
		EXPECT_EQ(0, ret);
		EXPECT_FALSE(is_dead(pair->a.fd) || is_dead(pair->b.fd))
			TH_LOG("%u: %d, %d", p->nth, ptd_outcome(pair->a.fd),
			       ptd_outcome(pair->b.fd));
	} else if (!strncmp(verb, "post_", 5)) {
		EXPECT_TRUE(died_of_device(pair->a.fd, pair->b.fd))
			TH_LOG("%u: %s: %d", p->nth, verb, ret);
	} else if (maps && !ret) {
		/* Recalled it was mapped before anybody wanted that. */
		EXPECT_EQ(0, ptd_grant(pair->b.fd, ID, PTD_BOTH));
	} else {
		EXPECT_GT(0, ret)
			TH_LOG("%u: %s", p->nth, verb);
	}
}

TEST_F_TIMEOUT(verb, use, 400)
{
	struct ptd_pair pair;
	struct point p = {};
	int ret;

	while (next_point(_metadata, self, &p)) {
		pair = (struct ptd_pair){
			.limits = {
				.recall_ms = 20000,
				.wait_ms = 10000 * ptk_slow(),
			},
		};
		ASSERT_EQ(0, ptd_pair_open(&pair));
		ASSERT_EQ(0, aim(&p));
		ret = use(_metadata, self, &pair);
		judge_use(_metadata, &p, &pair, ret);
		move_both(_metadata, self);
		ptd_pair_close(&pair);
		pair = (struct ptd_pair){};
		ASSERT_EQ(0, ptd_pair_open(&pair));
		EXPECT_TRUE(ptd_works(pair.a.fd, &self->from, pair.b.fd,
				      &self->to, SMALL));
		ptd_pair_close(&pair);
	}
	EXPECT_EQ(4, p.counts[4]);
	EXPECT_LE(8, p.counts[5]);
	EXPECT_LE(4, p.counts[6]);
	EXPECT_LE(20, p.counts[7]);
}

int main(int argc, char **argv)
{
	return ptv_main(argc, argv);
}
