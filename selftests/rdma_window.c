// SPDX-License-Identifier: GPL-2.0
/*
 * Control messages when the peer acknowledges none: what has to wait for a
 * place, and what is said in the last one. And one that has no places for
 * immediate data.
 *
 * The peer is p2pbuf_test_peer.h. Grants fill its window, all places of it but
 * the one that is kept for CREDIT.
 */
#include <liburing.h>

#include "p2pbuf_test_rig.h"
#include "p2pbuf_test_mock.h"
#include "p2pbuf_test_rdma.h"
#include "p2pbuf_test_peer.h"

#define BUFFER		65536ull
#define WINDOW		32	/* messages, and immediate data likewise */
#define FILLS		(WINDOW - 1)
#define MORE		40	/* grants: more than there are places */
#define LEFT		(2 * WINDOW - PTD_PEER_RECEIVES)
#define RECALL_MS	300
#define SLOW_MS		(RECALL_MS / 2)

/* ---- the peer --------------------------------------------------------------- */

/* The next message, if one comes within @ms. */
static bool peer_looks(struct ptd_peer *p, struct ptd_wire_msg *m,
		       unsigned int ms)
{
	struct ibv_wc wc;

	if (!ptk_until(ibv_poll_cq(p->id->recv_cq, 1, &wc) == 1, ms) ||
	    wc.status)
		return false;
	memcpy(m, p->memory->rx[p->received++], sizeof(*m));
	return true;
}

/* As many grants as there are places; none of them is acknowledged. */
static bool peer_is_filled(struct ptd_peer *p)
{
	struct ptd_wire_msg m;

	while (p->received < FILLS) {
		if (ptd_peer_receive(p, &m) || m.type != PTD_GRANT)
			return false;
		if (m.id == 1)
			p->grant = m;
	}
	return true;
}

static bool peer_credit(struct ptd_peer *p, __u32 ack)
{
	struct ptd_wire_msg m = ptd_peer_message(p, PTD_CREDIT);

	m.ack = ack;
	return !ptd_peer_send(p, &m, 0);
}

static bool peer_write_imm(struct ptd_peer *p, __u32 imm)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)p->memory->tx, .length = 16,
		.lkey = p->mr->lkey,
	};
	struct ibv_send_wr wr = {
		.sg_list = &sge, .num_sge = 1,
		.opcode = IBV_WR_RDMA_WRITE_WITH_IMM,
		.send_flags = IBV_SEND_SIGNALED,
		.imm_data = htonl(imm),
		.wr.rdma = {
			.remote_addr = 1ull << 40, .rkey = p->grant.keys[0],
		},
	};

	return !ptd_peer_post(p, &wr);
}

/* Makes room when it is told to: each grant that comes then gives a right. */
static int peer_makes_room(struct ptd_peer *p)
{
	struct ptd_wire_msg m;

	if (!ptd_peer_wait() || !peer_credit(p, FILLS))
		return 4;
	while (peer_looks(p, &m, 1000 * ptk_slow()))
		if (m.type != PTD_GRANT || !m.rights || m.id == MORE)
			return 5;
	return p->received == MORE - 1 ? 0 : 6;
}

/*
 * The last place is not for immediate data that was taken: what this side says
 * may fill the other window as well, and then it is the way out.
 */
static int peer_needs_the_last(struct ptd_peer *p)
{
	struct ptd_wire_msg m;
	int i;

	for (i = 0; i < WINDOW / 2; i++)
		if (!peer_write_imm(p, i))
			return 4;
	if (!ptd_peer_wait())
		return 5;
	if (peer_looks(p, &m, 100))
		return 6;
	for (i = 0; i < WINDOW; i++)
		if (!peer_credit(p, 0))
			return 7;
	if (!peer_looks(p, &m, 5000 * ptk_slow()))
		return 8;
	return m.type == PTD_CREDIT && m.ack >= WINDOW / 2 &&
	       m.imm_ack == WINDOW / 2 ? 0 : 9;
}

/*
 * Is told, late, that its lease is wanted back and that there will be another
 * one; and then that there will not.
 */
static int peer_hopes(struct ptd_peer *p)
{
	struct ptd_wire_msg m;

	if (!ptd_peer_wait() || !peer_credit(p, FILLS))
		return 4;
	if (!peer_looks(p, &m, PTD_MS * ptk_slow()) || m.type != PTD_RECALL ||
	    m.id != 1 || m.flags)
		return 5;
	m = ptd_peer_message(p, PTD_RECALL_ACK);
	if (ptd_peer_send(p, &m, 0))
		return 6;
	if (!peer_looks(p, &m, PTD_MS * ptk_slow()))
		return 7;
	return m.type == PTD_WITHDRAW && m.id == 1 &&
	       m.epoch >= p->grant.epoch ? 0 : 8;
}

/* Takes the next immediate data. */
static bool peer_takes(struct ptd_peer *p, int count)
{
	struct ibv_wc wc;

	while (count--)
		if (!ptk_until(ibv_poll_cq(p->id->recv_cq, 1, &wc) == 1,
			       PTD_MS * ptk_slow()) || wc.status)
			return false;
	return true;
}

/* Has no receives left, and gives one now and then: so requests end. */
static int peer_is_slow(struct ptd_peer *p)
{
	static char page[4096] __attribute__((aligned(4096)));
	struct ptd_wire_msg m = ptd_peer_message(p, PTD_GRANT);
	/* Asked again after 1.28 ms. */
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTS, .min_rnr_timer = 14,
	};
	struct ibv_mr *mr;
	int i;

	mr = ibv_reg_mr_iova(p->id->pd, page, sizeof(page), 1ull << 40,
			     IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
	if (!mr || ibv_modify_qp(p->id->qp, &attr,
				 IBV_QP_STATE | IBV_QP_MIN_RNR_TIMER))
		return 4;
	m.keys[0] = mr->rkey;
	if (ptd_peer_send(p, &m, 0) || !peer_takes(p, WINDOW))
		return 5;
	m = ptd_peer_message(p, PTD_CREDIT);
	m.imm_ack = WINDOW;
	if (ptd_peer_send(p, &m, 0) ||
	    !peer_takes(p, PTD_PEER_RECEIVES - WINDOW) || !ptd_peer_wait())
		return 6;
	for (i = 0; i < LEFT; i++) {
		usleep(SLOW_MS * 1000);
		rdma_post_recv(p->id, NULL, p->memory->rx[i], 128, p->mr);
	}
	return 0;
}

static int peer_play(struct ptd_peer *p, char part)
{
	if (part == 's')
		return peer_is_slow(p);
	if (!peer_is_filled(p))
		return 3;
	if (part == 'h')
		return peer_hopes(p);
	return part == 'r' ? peer_makes_room(p) : peer_needs_the_last(p);
}

/* rdma_window hostile PORT PART */
static int hostile(char **argv)
{
	struct ptd_wire_hello hello = ptd_wire_hello();
	struct ptd_peer p;
	int ret;

	if (ptd_peer_connect(&p, argv[2], &hello))
		return 2;
	ret = peer_play(&p, argv[3][0]);
	ptd_peer_wait();
	ptd_peer_close(&p);
	return ret;
}

/* ---- this side ------------------------------------------------------------- */

FIXTURE(window) {
	struct ptd_hostile peer;
	struct io_uring ring;
	int mock;
	int buffer;
	int listener;
	int fd;
};

#define WINDOW_DATA FIXTURE_DATA(window)

FIXTURE_SETUP(window)
{
	self->peer.pid = 0;
	self->listener = ptd_open();
	if (self->listener == -ENOENT)
		SKIP(return, "no " PTD_NODE);
	ASSERT_LE(0, self->listener);
	self->mock = ptm_open();
	if (self->mock < 0)
		SKIP(return, "no " P2PBUF_MOCK_DEVICE);
	self->buffer = ptm_create(self->mock, BUFFER, P2PBUF_MOCK_PAGES, 0);
	ASSERT_LE(0, self->buffer);
	ASSERT_EQ(0, ptd_ring(&self->ring, WINDOW));
	self->fd = ptd_open();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(window)
{
	if (self->listener < 0 || self->mock < 0)
		return;
	ptd_hostile_kill(&self->peer);
	io_uring_queue_exit(&self->ring);
	close(self->fd);
	close(self->listener);
	close(self->buffer);
	close(self->mock);
}

/* A peer that has been told of the first grants, @grants in all. */
static bool window_fill(WINDOW_DATA *self, const char *part, __u32 grants)
{
	struct p2pbuf_rdma_limits limits = { .recall_ms = 20000 };
	struct p2pbuf_rdma_info info;
	int port = ptd_listen(self->listener);
	__u32 id;

	if (port < 0 || !ptd_hostile_start(&self->peer, port, part) ||
	    ptd_accept(self->fd, self->listener, limits))
		return false;
	for (id = 1; id <= grants; id++)
		if (ptd_import(self->fd, self->buffer, id) != (int)id ||
		    ptd_grant(self->fd, id, PTD_BOTH))
			return false;
	return ptm_until(!ptd_info(self->fd, &info) &&
			 info.messages_sent == FILLS &&
			 info.registrations == grants);
}

static bool peer_ends_well(WINDOW_DATA *self)
{
	struct p2pbuf_rdma_info info;
	bool up = !ptd_info(self->fd, &info) &&
		  info.state == P2PBUF_RDMA_UP;

	return ptd_hostile_go(&self->peer) &&
	       ptd_hostile_ended(&self->peer) && up;
}

/* What waits for room is not said any more when it is not granted any more. */
TEST_F_TIMEOUT(window, recalled_before_it_was_said, 120)
{
	struct p2pbuf_rdma_recall arg = { .size = sizeof(arg), .id = MORE };
	struct p2pbuf_rdma_info info;
	struct ptm_job recall;
	int hold;

	ASSERT_TRUE(window_fill(self, "room", MORE));
	/* Keeps the registration, which is over with the recall. */
	hold = ptm_hold(self->mock, self->buffer, P2PBUF_MOCK_HOLD_PLAIN,
			PTM_LONG_MS);
	ASSERT_LT(0, hold);
	ASSERT_EQ(0, ptm_hold_wait(self->mock, hold, P2PBUF_MOCK_HOLD_HELD,
				   PTM_LONG_MS));
	ptm_start(&recall, self->fd, P2PBUF_RDMA_RECALL, &arg);
	EXPECT_TRUE(ptm_blocked(&recall));
	ASSERT_TRUE(ptd_hostile_go(&self->peer));
	EXPECT_TRUE(ptm_until(!ptd_info(self->fd, &info) &&
			      info.messages_sent >= MORE - 1));
	ASSERT_EQ(0, ptm_call(self->mock, P2PBUF_MOCK_RELEASE, hold));
	EXPECT_EQ(0, ptm_finish(&recall));
	EXPECT_TRUE(peer_ends_well(self));
}

static void nothing(int sig)
{
	(void)sig;
}

/*
 * RECALL is interrupted before the peer is told, and GRANT follows: so the peer
 * hears of a lease that it will have again. When that fails it is told.
 */
TEST_F_TIMEOUT(window, regrant_fails, 120)
{
	const struct sigaction action = { .sa_handler = nothing };
	struct p2pbuf_rdma_recall recall = { .size = sizeof(recall), .id = 1 };
	struct p2pbuf_rdma_grant grant = {
		.size = sizeof(grant), .id = 1, .rights = PTD_BOTH,
	};
	struct ptm_job job;

	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	ASSERT_TRUE(window_fill(self, "hope", FILLS));
	ptm_start(&job, self->fd, P2PBUF_RDMA_RECALL, &recall);
	EXPECT_TRUE(ptm_blocked(&job));
	ASSERT_EQ(0, pthread_kill(job.thread, SIGUSR1));
	ASSERT_EQ(-EINTR, ptm_finish(&job));
	ASSERT_EQ(0, ptm_rule(self->mock, self->buffer, P2PBUF_MOCK_OP_MAP,
			      P2PBUF_MOCK_FAIL, EIO, 0, 1));
	ptm_start(&job, self->fd, P2PBUF_RDMA_GRANT, &grant);
	EXPECT_TRUE(ptm_blocked(&job));
	ASSERT_TRUE(ptd_hostile_go(&self->peer));
	EXPECT_EQ(-EIO, ptm_finish(&job));
	EXPECT_TRUE(peer_ends_well(self));
}

TEST_F_TIMEOUT(window, last_place, 120)
{
	const struct p2pbuf_rdma_cmd none = {};
	int i;

	ASSERT_TRUE(window_fill(self, "last", FILLS));
	for (i = 0; i < WINDOW / 2; i++)
		ptd_prep(&self->ring, self->fd, P2PBUF_RDMA_URING_RECV, &none,
			 0);
	ASSERT_EQ(WINDOW / 2, io_uring_submit(&self->ring));
	for (i = 0; i < WINDOW / 2; i++)
		EXPECT_EQ(i, ptd_wait(&self->ring, NULL));
	ASSERT_TRUE(ptd_hostile_go(&self->peer));
	EXPECT_TRUE(peer_ends_well(self));
}

/*
 * It lets one request end after the other, each in time: together they would
 * take longer than a move waits for them.
 */
TEST_F_TIMEOUT(window, one_by_one, 120)
{
	const struct p2pbuf_rdma_limits limits = { .recall_ms = RECALL_MS };
	const struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = 4096,
	};
	int i, port = ptd_listen(self->listener);

	ASSERT_LT(0, port);
	ASSERT_TRUE(ptd_hostile_start(&self->peer, port, "slow"));
	ASSERT_EQ(0, ptd_accept(self->fd, self->listener, limits));
	ASSERT_EQ(1, ptd_import(self->fd, self->buffer, 1));
	for (i = 0; i < 2 * WINDOW; i++)
		ptd_prep(&self->ring, self->fd, P2PBUF_RDMA_URING_WRITE_IMM,
			 &cmd, 0);
	ASSERT_LE(0, io_uring_submit(&self->ring));
	for (i = 0; i < PTD_PEER_RECEIVES; i++)
		ASSERT_EQ(4096, ptd_wait(&self->ring, NULL));
	ASSERT_TRUE(ptd_hostile_go(&self->peer));
	EXPECT_EQ(0, ptm_move(self->mock, self->buffer, P2PBUF_MOCK_PAGES, 0));
	EXPECT_EQ(ETIMEDOUT, ptd_outcome(self->fd));
	ASSERT_TRUE(ptd_hostile_go(&self->peer));
	EXPECT_TRUE(ptd_hostile_ended(&self->peer));
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "hostile"))
		return hostile(argv);
	ptd_hostile_prepare(argv[0]);
	return ptd_main(argc, argv);
}
