// SPDX-License-Identifier: GPL-2.0
/*
 * Peers that are killed, silent or hostile: they end their own connection and
 * nothing else.
 *
 * The hostile peer is p2pbuf_test_peer.h. An honest connection is up all the
 * time and must not notice.
 *
 * P2PBUF_RDMA_FUZZ=n in the environment: connections with messages made by
 * chance (default 5, seed P2PBUF_SEED).
 */
#include <liburing.h>
#include <sys/resource.h>

#include "p2pbuf_test_rig.h"
#include "p2pbuf_test_mock.h"
#include "p2pbuf_test_rdma.h"
#include "p2pbuf_test_peer.h"

#define BUFFER		65536ull
#define DEAF		"/tmp/p2pbuf_deaf"	/* there when it is */

/**
 * struct lie - a message that may not be said
 * @what: why not
 * @m: what is different from a message that may
 * @base: which that is
 * @before: a valid GRANT goes before it
 * @bytes: its length when that is wrong, else 0
 * @error: how the connection ends, EPROTO when 0
 */
struct lie {
	const char *what;
	void (*change)(struct ptd_wire_msg *m);
	int base;
	bool before;
	__u32 bytes;
	int error;
};

#define LIE(_name, _what) static void _name(struct ptd_wire_msg *m) { _what; }

LIE(nothing, (void)m)
LIE(magic, m->magic ^= 1)
LIE(version, m->version = 2)
LIE(type_0, m->type = 0)
LIE(type_6, m->type = 6)
LIE(type_max, m->type = 0xffff)
LIE(seq_back, m->seq--)
LIE(seq_gap, m->seq++)
LIE(ack_ahead, m->ack = 1000)
LIE(ack_back, m->ack = ~0u)
LIE(imm_ahead, m->imm_ack = 1)
LIE(id_0, m->id = 0)
LIE(id_65, m->id = 65)
LIE(id_max, m->id = ~0u)
LIE(epoch_0, m->epoch = 0)
LIE(epoch_other, m->epoch++)
LIE(length_0, m->length = 0)
LIE(length_odd, m->length = 4097)
LIE(length_huge, m->length = 1ull << 41)
LIE(length_max, m->length = ~0ull)
LIE(segment_1, m->segment = 1)
LIE(count_0, m->count = 0)
LIE(count_5, m->count = 5)
LIE(count_2, m->count = 2)
LIE(shift_11, m->shift = 11)
LIE(shift_31, m->shift = 31)
LIE(shift_255, m->shift = 255)
LIE(rights_0, m->rights = 0)
LIE(rights_4, m->rights = 4)
LIE(flags_1, m->flags = 1)
LIE(flags_2, m->flags = 2)
LIE(keys_more, m->keys[1] = 7)

static const struct lie lies[] = {
	{ .what = "wrong magic", .change = magic, .base = PTD_GRANT },
	{ .what = "version 2", .change = version, .base = PTD_GRANT },
	{ .what = "type 0", .change = type_0, .base = PTD_GRANT },
	{ .what = "type 6", .change = type_6, .base = PTD_CREDIT },
	{ .what = "type 65535", .change = type_max, .base = PTD_CREDIT },
	{ .what = "a number twice", .change = seq_back, .base = PTD_GRANT },
	{ .what = "a number left out", .change = seq_gap, .base = PTD_GRANT },
	{ .what = "acknowledges what was not sent",
	  .change = ack_ahead, .base = PTD_GRANT },
	{ .what = "acknowledges backwards", .change = ack_back, .base = PTD_GRANT },
	{ .what = "takes immediate data that was not sent",
	  .change = imm_ahead, .base = PTD_GRANT },
	{ .what = "grants id 0", .change = id_0, .base = PTD_GRANT },
	{ .what = "grants id 65", .change = id_65, .base = PTD_GRANT },
	{ .what = "grants id 2^32-1", .change = id_max, .base = PTD_GRANT },
	{ .what = "grants epoch 0", .change = epoch_0, .base = PTD_GRANT },
	{ .what = "grants nothing", .change = length_0, .base = PTD_GRANT },
	{ .what = "grants half a page", .change = length_odd, .base = PTD_GRANT },
	{ .what = "grants 2 TiB", .change = length_huge, .base = PTD_GRANT },
	{ .what = "grants 2^64-1 bytes", .change = length_max, .base = PTD_GRANT },
	{ .what = "begins with key 1", .change = segment_1, .base = PTD_GRANT },
	{ .what = "grants without a key", .change = count_0, .base = PTD_GRANT },
	{ .what = "5 keys in a message", .change = count_5, .base = PTD_GRANT },
	{ .what = "more keys than it takes", .change = count_2, .base = PTD_GRANT },
	{ .what = "keys for 2 KiB", .change = shift_11, .base = PTD_GRANT },
	{ .what = "keys for 2 GiB", .change = shift_31, .base = PTD_GRANT },
	{ .what = "keys for 2^255 bytes", .change = shift_255, .base = PTD_GRANT },
	{ .what = "grants no right", .change = rights_0, .base = PTD_GRANT },
	{ .what = "grants an unknown right",
	  .change = rights_4, .base = PTD_GRANT },
	{ .what = "a flag on a grant", .change = flags_1, .base = PTD_GRANT },
	{ .what = "a key behind the last", .change = keys_more, .base = PTD_GRANT },
	{ .what = "grants what is granted",
	  .change = epoch_other, .base = PTD_GRANT, .before = true },
	{ .what = "recalls what was not granted",
	  .change = nothing, .base = PTD_RECALL },
	{ .what = "recalls another epoch",
	  .change = epoch_other, .base = PTD_RECALL, .before = true },
	{ .what = "an unknown flag on a recall",
	  .change = flags_2, .base = PTD_RECALL, .before = true },
	{ .what = "recalls with a length",
	  .change = length_odd, .base = PTD_RECALL, .before = true },
	{ .what = "withdraws what is granted",
	  .change = nothing, .base = PTD_WITHDRAW, .before = true },
	{ .what = "gives back unasked", .change = nothing, .base = PTD_RECALL_ACK },
	{ .what = "gives back another epoch",
	  .change = epoch_other, .base = PTD_RECALL_ACK },
	{ .what = "gives back id 2^32-1",
	  .change = id_max, .base = PTD_RECALL_ACK },
	{ .what = "a credit with an id", .change = id_65, .base = PTD_CREDIT },
	{ .what = "half a message",
	  .change = nothing, .base = PTD_CREDIT, .bytes = 32 },
	{ .what = "no bytes at all",
	  .change = nothing, .base = PTD_CREDIT, .bytes = 0xffff },
	{ .what = "a message too long",
	  .change = nothing, .base = PTD_CREDIT, .bytes = 80, .error = EIO },
};

#define LIES		(sizeof(lies) / sizeof(lies[0]))

/* ---- the hostile peer ------------------------------------------------------- */

static void peer_tell(struct ptd_peer *p, const struct lie *lie)
{
	struct ptd_wire_msg m;

	if (lie->before) {
		m = ptd_peer_message(p, PTD_GRANT);
		if (ptd_peer_send(p, &m, 0))
			return;
	}
	m = ptd_peer_message(p, lie->base);
	lie->change(&m);
	ptd_peer_send(p, &m, lie->bytes);
}

/* Any bytes, in a message that is right but for them. */
static void peer_fuzz(struct ptd_peer *p, unsigned int *seed)
{
	int messages, n, byte;
	struct ptd_wire_msg m;

	for (messages = 0; messages < 12; messages++) {
		m = ptd_peer_message(p, 1 + rand_r(seed) % 5);
		for (n = rand_r(seed) % 3; n; n--) {
			byte = rand_r(seed) % sizeof(m);
			((__u8 *)&m)[byte] = rand_r(seed) % 4 ?
					     rand_r(seed) % 8 : rand_r(seed);
		}
		if (ptd_peer_send(p, &m, 0))
			return;
	}
	/* Still there? Then this is too much. */
	m.magic = 0;
	ptd_peer_send(p, &m, 0);
}

/* Numbers in order, but nobody's window is minded. */
static void peer_flood(struct ptd_peer *p)
{
	struct ptd_wire_msg m;
	int i;

	for (i = 0; i < 2000; i++) {
		m = ptd_peer_message(p, PTD_CREDIT);
		m.ack = 0;
		if (ptd_peer_send(p, &m, 0))
			return;
	}
}

/* Not what was granted, or not where. */
static void peer_write(struct ptd_peer *p, __u64 address, __u32 key,
		       __u32 bytes)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)p->memory->tx,
		.length = bytes,
		.lkey = p->mr->lkey,
	};
	struct ibv_send_wr wr = {
		.sg_list = &sge, .num_sge = 1, .opcode = IBV_WR_RDMA_WRITE,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = { .remote_addr = address, .rkey = key },
	};

	memset(p->memory->tx, 0xee, sizeof(p->memory->tx));
	ptd_peer_post(p, &wr);
}

/*
 * Grants a page and, when it is told to, answers no packet any more: what is
 * sent to it is sent again and again.
 */
static void peer_goes_deaf(struct ptd_peer *p)
{
	static char page[4096] __attribute__((aligned(4096)));
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };
	struct ptd_wire_msg m = ptd_peer_message(p, PTD_GRANT);
	struct ibv_mr *mr;

	mr = ibv_reg_mr_iova(p->id->pd, page, sizeof(page), 1ull << 40,
			     IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
	if (!mr)
		return;
	m.keys[0] = mr->rkey;
	if (ptd_peer_send(p, &m, 0) || !ptd_peer_wait() ||
	    ibv_modify_qp(p->id->qp, &attr, IBV_QP_STATE))
		return;
	close(open(DEAF, O_CREAT | O_WRONLY, 0600));
}

/**
 * struct part - what the hostile peer is to do on one connection
 * @kind: l: lie @number; f: fuzz; o: flood; s: be silent; d: grant, and go
 *	deaf; w: write where number @number says
 * @number: see there
 */
struct part {
	char kind;
	unsigned int number;
};

static void peer_play(struct ptd_peer *p, struct part part)
{
	const __u64 first = 1ull << 40;
	__u32 key;

	if (ptd_peer_receive(p, &p->grant))
		return;
	key = p->grant.keys[0];
	switch (part.kind) {
	case 'l':
		peer_tell(p, &lies[part.number]);
		break;
	case 'f':
		peer_fuzz(p, &part.number);
		break;
	case 'o':
		peer_flood(p);
		break;
	case 'w':
		if (part.number == 0)		/* behind the end */
			peer_write(p, first + BUFFER - 8, key, 16);
		else if (part.number == 1)	/* another id */
			peer_write(p, 2 * first, key, 16);
		else if (part.number == 2)	/* a forged key */
			peer_write(p, first, key + 0x100, 16);
		else if (part.number == 3)	/* an older key */
			peer_write(p, first, key - 1, 16);
		else if (part.number == 4)	/* an address */
			peer_write(p, 0xffff888000000000ull, key, 16);
		else				/* what is right but for the right */
			peer_write(p, first, key, 16);
		break;
	case 'd':
		peer_goes_deaf(p);
		break;
	case 's':
		ptd_peer_wait();
		/* The lease was taken away meanwhile. */
		peer_write(p, first, key, 4096);
		break;
	}
}

/* rdma_fault hostile PORT PART...: one connection for each part. */
static int hostile(int argc, char **argv)
{
	struct ptd_wire_hello hello = ptd_wire_hello();
	struct ptd_peer p;
	int i, ret;

	for (i = 3; i < argc; i++) {
		struct part part = { argv[i][0], strtoul(argv[i] + 1, NULL, 0) };

		hello.version = part.kind == 'v' ? 2 : 1;
		hello.size = part.kind == 'z' ? 65 : sizeof(struct ptd_wire_msg);
		ret = ptd_peer_connect(&p, argv[2], &hello);
		if (part.kind == 'v' || part.kind == 'z') {
			ptd_peer_close(&p);
			if (!ret)
				return 3;
			continue;
		}
		if (ret) {
			fprintf(stderr, "# %s: cannot connect: %d\n", argv[i],
				ret);
			return 2;
		}
		peer_play(&p, part);
		if (!ptd_peer_wait())
			return 4;
		ptd_peer_close(&p);
	}
	return 0;
}

/* ---- this side ------------------------------------------------------------- */

FIXTURE(fault) {
	struct ptd_pair honest;
	struct ptn_buffer buffer;
	int mock;
	int wanted;	/* what the hostile are granted */
	struct ptd_hostile peer;
};

#define FAULT_DATA FIXTURE_DATA(fault)

FIXTURE_SETUP(fault)
{
	int ret = ptd_open();

	self->honest = (struct ptd_pair){};
	self->peer.pid = 0;
	if (ret == -ENOENT)
		SKIP(return, "no " PTD_NODE);
	ASSERT_LE(0, ret);
	close(ret);
	self->mock = ptm_open();
	if (self->mock < 0)
		SKIP(return, "no " P2PBUF_MOCK_DEVICE);
	ret = ptn_buffer_alloc(&self->buffer, PTN_UDMABUF, BUFFER);
	if (ret == -ENOENT)
		SKIP(return, "no udmabuf");
	ASSERT_EQ(0, ret);
	self->wanted = ptm_create(self->mock, BUFFER, P2PBUF_MOCK_PAGES, 0);
	ASSERT_LE(0, self->wanted);
	ASSERT_EQ(0, ptd_pair_open(&self->honest));
	ASSERT_EQ(1, ptd_import(self->honest.a.fd, self->buffer.dmabuf, 0));
	ASSERT_EQ(1, ptd_import(self->honest.b.fd, self->buffer.dmabuf, 0));
	ASSERT_EQ(0, ptd_grant(self->honest.b.fd, 1, PTD_BOTH));
}

FIXTURE_TEARDOWN(fault)
{
	ptd_hostile_kill(&self->peer);
	ptd_pair_close(&self->honest);
	ptn_buffer_free(&self->buffer);
	close(self->wanted);
	close(self->mock);
}

static bool honest_works(FAULT_DATA *self)
{
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = 4096,
		.remote_offset = 8192,
	};
	__u8 *map = self->buffer.map;

	ptd_fill(map, 4096, 1);
	memset(map + 4096, PTD_POISON, 3 * 4096);
	return ptd_io(&self->honest.a.ring, self->honest.a.fd,
		      P2PBUF_RDMA_URING_WRITE, &cmd) == 4096 &&
	       ptd_check(map + 8192, 4096, 1) == 4096 &&
	       ptd_check_poison(map + 4096, 4096) == 4096 &&
	       ptd_check_poison(map + 12288, 4096) == 4096;
}

static bool hostile_start(FAULT_DATA *self, const char *parts)
{
	return ptd_hostile_start(&self->peer, self->honest.port, parts);
}

/* Its next connection, with a buffer granted to it. */
static int hostile_accept(FAULT_DATA *self, __u32 rights)
{
	struct p2pbuf_rdma_limits limits = { .recall_ms = 300 };
	int fd = ptd_open(), ret;

	ret = ptd_accept(fd, self->honest.listener, limits);
	if (!ret) {
		ret = ptd_import(fd, self->wanted, 1);
		ret = ret == 1 ? ptd_grant(fd, 1, rights) : ret;
	}
	/* It may have ended before that. */
	if (ret && ret != -ENOTCONN) {
		fprintf(stderr, "# accept and grant: %d\n", ret);
		close(fd);
		return ret;
	}
	return fd;
}

static bool nobody_wrote(FAULT_DATA *self)
{
	struct p2pbuf_mock_buffer_info info;
	static __u8 bytes[BUFFER];

	/* The place they could reach is left now, and looked at. */
	if (ptm_data(self->mock, self->wanted, false, 0, bytes, BUFFER) ||
	    ptd_check_poison(bytes, BUFFER) != BUFFER ||
	    ptm_move(self->mock, self->wanted, P2PBUF_MOCK_PAGES, 0))
		return false;
	info = ptm_info(self->mock, self->wanted);
	return !info.late_words && !info.moved_active && !info.stale;
}

static bool poison(FAULT_DATA *self)
{
	static __u8 bytes[BUFFER];

	memset(bytes, PTD_POISON, BUFFER);
	return !ptm_data(self->mock, self->wanted, true, 0, bytes, BUFFER);
}

/* One connection of the hostile, from ACCEPT to close. Returns its outcome. */
static int hostile_connection(FAULT_DATA *self, __u32 rights)
{
	int fd = hostile_accept(self, rights), error;

	if (fd < 0)
		return 0;
	error = ptd_outcome(fd);
	if (!ptd_hostile_go(&self->peer))
		error = 0;
	close(fd);
	return error;
}

TEST_F_TIMEOUT(fault, lies, 240)
{
	char parts[LIES * 8] = "";
	size_t i;
	int error;

	ASSERT_TRUE(poison(self));
	for (i = 0; i < LIES; i++)
		sprintf(parts + strlen(parts), "l%zu ", i);
	ASSERT_TRUE(hostile_start(self, parts));
	for (i = 0; i < LIES; i++) {
		error = hostile_connection(self, P2PBUF_RDMA_RIGHT_READ);
		EXPECT_EQ(lies[i].error ? lies[i].error : EPROTO, error)
			TH_LOG("%s", lies[i].what);
		if (i % 10 == 0)
			ASSERT_TRUE(honest_works(self));
	}
	ASSERT_TRUE(ptd_hostile_ended(&self->peer));
	ASSERT_TRUE(honest_works(self));
	ASSERT_TRUE(nobody_wrote(self));
}

/* Another one for each connection, whatever 32 bits the run was given. */
static unsigned int fuzz_seed(unsigned int connection)
{
	return ptk_seed() + connection * 0x9e3779b9u;
}

TEST_F_TIMEOUT(fault, fuzz, 240)
{
	const char *n = getenv("P2PBUF_RDMA_FUZZ");
	unsigned int i, count = n && atoi(n) > 0 ? atoi(n) : 5;
	char parts[2048] = "";

	if (count > 100)
		count = 100;
	ASSERT_TRUE(poison(self));
	for (i = 0; i < count; i++)
		sprintf(parts + strlen(parts), "f%u ", fuzz_seed(i));
	ASSERT_TRUE(hostile_start(self, parts));
	for (i = 0; i < count; i++) {
		ASSERT_NE(0, hostile_connection(self, P2PBUF_RDMA_RIGHT_READ))
			TH_LOG("seed %u", fuzz_seed(i));
	}
	ASSERT_TRUE(ptd_hostile_ended(&self->peer));
	ASSERT_TRUE(honest_works(self));
	ASSERT_TRUE(nobody_wrote(self));
}

TEST_F_TIMEOUT(fault, flood, 120)
{
	ASSERT_TRUE(hostile_start(self, "o"));
	ASSERT_EQ(EPROTO, hostile_connection(self, P2PBUF_RDMA_RIGHT_READ));
	ASSERT_TRUE(ptd_hostile_ended(&self->peer));
	ASSERT_TRUE(honest_works(self));
}

/* The NIC refuses; whatever else it says of that, the connection is over. */
TEST_F_TIMEOUT(fault, writes_elsewhere, 120)
{
	int i;

	ASSERT_TRUE(poison(self));
	ASSERT_TRUE(hostile_start(self, "w0 w1 w2 w3 w4 w5"));
	for (i = 0; i < 5; i++) {
		EXPECT_NE(0, hostile_connection(self, PTD_BOTH))
			TH_LOG("%d", i);
	}
	/* The right key and address, but only the right to read. */
	EXPECT_NE(0, hostile_connection(self, P2PBUF_RDMA_RIGHT_READ));
	ASSERT_TRUE(ptd_hostile_ended(&self->peer));
	ASSERT_TRUE(honest_works(self));
	ASSERT_TRUE(nobody_wrote(self));
}

/* It speaks another version of the protocol, or thinks so. */
TEST_F_TIMEOUT(fault, wrong_hello, 120)
{
	ASSERT_TRUE(hostile_start(self, "v z"));
	ASSERT_TRUE(ptd_hostile_ended(&self->peer));
	ASSERT_TRUE(honest_works(self));
}

/* It never gives a lease back: the move takes it away, and its connection. */
TEST_F_TIMEOUT(fault, silent, 120)
{
	struct p2pbuf_rdma_info info;
	int fd;

	ASSERT_TRUE(poison(self));
	ASSERT_TRUE(hostile_start(self, "s"));
	fd = hostile_accept(self, PTD_BOTH);
	ASSERT_LE(0, fd);
	/* Until it has the lease it has nothing to be silent about. */
	do {
		usleep(10000);
		ASSERT_EQ(0, ptd_info(fd, &info));
	} while (!info.grants_sent);
	ASSERT_EQ(0, ptm_move(self->mock, self->wanted, P2PBUF_MOCK_PAGES, 0));
	ASSERT_EQ(0, ptd_info(fd, &info));
	EXPECT_EQ(P2PBUF_RDMA_DEAD, info.state);
	EXPECT_EQ(ETIMEDOUT, info.error);
	EXPECT_EQ(1, info.recalls_sent);
	EXPECT_EQ(1, info.revocations);
	ASSERT_TRUE(ptd_hostile_go(&self->peer));
	ASSERT_TRUE(ptd_hostile_go(&self->peer));
	ASSERT_TRUE(ptd_hostile_ended(&self->peer));
	ASSERT_TRUE(nobody_wrote(self));
	ASSERT_TRUE(honest_works(self));
	close(fd);
}

/* ---- peers that answer nothing ---------------------------------------------- */

static const struct p2pbuf_rdma_cmd to_the_deaf = {
	.local_id = 2, .remote_id = 1, .length = 4096,
};

static bool is_up(int fd)
{
	struct p2pbuf_rdma_info info;

	return !ptd_info(fd, &info) && info.state == P2PBUF_RDMA_UP;
}

/*
 * A connection with one that has just gone deaf: what is submitted to it from
 * here on is under way at once, and stays so.
 */
static int deaf_accept(FAULT_DATA *self)
{
	const struct p2pbuf_rdma_limits limits = {
		.recall_ms = 20000, .wait_ms = 1000,
	};
	struct p2pbuf_rdma_remote_info remote;
	struct io_uring ring;
	int fd = ptd_open(), ret;

	unlink(DEAF);
	if (ptd_accept(fd, self->honest.listener, limits) ||
	    ptd_import(fd, self->wanted, 1) != 1 ||
	    ptd_grant(fd, 1, P2PBUF_RDMA_RIGHT_READ) ||
	    ptd_import(fd, self->buffer.dmabuf, 2) != 2 ||
	    ptd_remote_info(fd, 1, PTD_MS, &remote) || ptd_ring(&ring, 4))
		return -EIO;
	do {
		/* On a slow machine it may take long until it is registered. */
		ret = ptd_io(&ring, fd, P2PBUF_RDMA_URING_WRITE, &to_the_deaf);
	} while (ret == -ETIMEDOUT && is_up(fd));
	io_uring_queue_exit(&ring);
	if (ret != 4096 || !ptd_hostile_go(&self->peer))
		return -EIO;
	while (access(DEAF, F_OK))
		usleep(1000);
	return fd;
}

static bool deaf_is_over(FAULT_DATA *self, int fd)
{
	bool over = ptd_outcome(fd) == ETIMEDOUT;

	close(fd);
	return over && ptd_hostile_go(&self->peer) &&
	       ptd_hostile_ended(&self->peer) && honest_works(self);
}

/* Three times wait_ms, but five seconds at least, and it is over. */
TEST_F_TIMEOUT(fault, deaf, 120)
{
	struct io_uring ring;
	int fd;

	ASSERT_TRUE(hostile_start(self, "d"));
	fd = deaf_accept(self);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ptd_ring(&ring, 4));
	EXPECT_EQ(-ETIMEDOUT, ptd_io(&ring, fd, P2PBUF_RDMA_URING_WRITE,
				     &to_the_deaf));
	EXPECT_TRUE(deaf_is_over(self, fd));
	io_uring_queue_exit(&ring);
}

/* What a dead process has left under way ends too, and so lets go of the file. */
TEST_F_TIMEOUT(fault, deaf_and_killed, 120)
{
	struct io_uring ring;
	int pipes[2], fd;
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_TRUE(hostile_start(self, "d"));
	fd = deaf_accept(self);
	ASSERT_LE(0, fd);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (ptd_ring(&ring, 4))
			_exit(1);
		ptd_prep(&ring, fd, P2PBUF_RDMA_URING_WRITE, &to_the_deaf, 0);
		if (io_uring_submit(&ring) != 1 || write(pipes[1], "", 1) != 1)
			_exit(2);
		for (;;)
			pause();
	}
	ASSERT_EQ(1, read(pipes[0], &byte, 1));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_TRUE(deaf_is_over(self, fd));
}

/* exec() waits until nothing of the process is under way, and cannot be killed. */
TEST_F_TIMEOUT(fault, deaf_and_exec, 120)
{
	int fd, status = -1;
	struct io_uring ring;
	pid_t pid;

	ASSERT_TRUE(hostile_start(self, "d"));
	fd = deaf_accept(self);
	ASSERT_LE(0, fd);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (ptd_ring(&ring, 4))
			_exit(1);
		ptd_prep(&ring, fd, P2PBUF_RDMA_URING_WRITE, &to_the_deaf, 0);
		if (io_uring_submit(&ring) != 1)
			_exit(2);
		execl("/bin/sh", "sh", "-c", "exit 7", NULL);
		_exit(3);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(7, WEXITSTATUS(status));
	EXPECT_TRUE(deaf_is_over(self, fd));
}

/*
 * A buffer of @fd, its id 3, that is being moved until the fence is signalled.
 * Returns the fence.
 */
static int moving_buffer(FAULT_DATA *self, int fd)
{
	int buffer = ptm_create(self->mock, BUFFER, P2PBUF_MOCK_PAGES, 0);
	int fence = -EIO;

	if (buffer >= 0 && ptd_import(fd, buffer, 3) == 3)
		fence = ptm_fence(self->mock, buffer, P2PBUF_MOCK_KERNEL, 0,
				  P2PBUF_MOCK_BACKGROUND);
	if (fence > 0 && ptm_move(self->mock, buffer, P2PBUF_MOCK_PAGES, 0))
		fence = -EBUSY;
	close(buffer);
	return fence;
}

static void exec_when_told(int fd, const int *told, const int *tells)
{
	struct p2pbuf_rdma_cmd cmd = to_the_deaf;
	struct io_uring ring;
	char byte;

	cmd.local_id = 3;
	if (ptd_ring(&ring, 4))
		_exit(1);
	ptd_prep(&ring, fd, P2PBUF_RDMA_URING_WRITE, &cmd, 0);
	if (io_uring_submit(&ring) != 1 || write(tells[1], "", 1) != 1 ||
	    read(told[0], &byte, 1) != 1)
		_exit(2);
	execl("/bin/sh", "sh", "-c", "exit 7", NULL);
	_exit(3);
}

/* How often it slept; -1 when it has not ended as it was told to. */
static long exec_sleeps(pid_t pid)
{
	struct rusage usage;
	int status = -1;

	if (wait4(pid, &status, 0, &usage) != pid || !WIFEXITED(status) ||
	    WEXITSTATUS(status) != 7)
		return -1;
	return usage.ru_nvcsw;
}

/*
 * What was parked when it was submitted io_uring takes for what can be
 * cancelled, and asks for again and again while it is under way. Whoever waits
 * so for seconds sleeps each time, and does not keep a processor busy.
 */
TEST_F_TIMEOUT(fault, deaf_and_exec_of_parked, 120)
{
	int fd, fence, told[2], tells[2];
	struct p2pbuf_rdma_info info;
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(told));
	ASSERT_EQ(0, pipe(tells));
	ASSERT_TRUE(hostile_start(self, "d"));
	fd = deaf_accept(self);
	ASSERT_LE(0, fd);
	fence = moving_buffer(self, fd);
	ASSERT_LT(0, fence);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		exec_when_told(fd, told, tells);
	ASSERT_EQ(1, read(tells[0], &byte, 1));
	ASSERT_EQ(0, ptd_info(fd, &info));
	EXPECT_EQ(1, info.parked);
	ASSERT_EQ(0, ptm_call(self->mock, P2PBUF_MOCK_SIGNAL, fence));
	ASSERT_TRUE(ptm_until(!ptd_info(fd, &info) && !info.parked));
	ASSERT_EQ(1, write(told[1], "", 1));
	EXPECT_LT(100, exec_sleeps(pid));
	EXPECT_TRUE(deaf_is_over(self, fd));
}

/* ---- peers that die ---------------------------------------------------------- */

/* Another process: connects, grants its buffer, writes until it is killed. */
static void victim(int port)
{
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = BUFFER,
	};
	struct p2pbuf_rdma_limits limits = {};
	struct ptn_buffer buffer;
	struct io_uring ring;
	int fd = ptd_open();

	if (ptn_buffer_alloc(&buffer, PTN_UDMABUF, BUFFER) ||
	    ptd_ring(&ring, 64) || ptd_connect(fd, port, limits) ||
	    ptd_import(fd, buffer.dmabuf, 1) != 1 ||
	    ptd_grant(fd, 1, PTD_BOTH))
		_exit(1);
	for (;;) {
		ptd_prep(&ring, fd, P2PBUF_RDMA_URING_WRITE, &cmd, 0);
		ptd_prep(&ring, fd, P2PBUF_RDMA_URING_READ, &cmd, 0);
		io_uring_submit(&ring);
		ptd_wait(&ring, NULL);
		ptd_wait(&ring, NULL);
	}
}

TEST_F_TIMEOUT(fault, killed, 120)
{
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = BUFFER,
	};
	struct p2pbuf_rdma_info info;
	struct io_uring ring;
	int fd, round, i, ret;

	ASSERT_EQ(0, ptd_ring(&ring, 64));
	for (round = 0; round < 2; round++) {
		self->peer.pid = fork();
		if (!self->peer.pid)
			victim(self->honest.port);
		fd = hostile_accept(self, PTD_BOTH);
		ASSERT_LE(0, fd);
		for (i = 0; i < 32; i++)
			ptd_prep(&ring, fd, P2PBUF_RDMA_URING_READ, &cmd, i);
		ASSERT_EQ(32, io_uring_submit(&ring));
		/* Right away, and with traffic both ways. */
		usleep(round * 100000);
		kill(self->peer.pid, SIGKILL);
		ASSERT_EQ(self->peer.pid, waitpid(self->peer.pid, NULL, 0));
		self->peer.pid = 0;
		for (i = 0; i < 32; i++) {
			ret = ptd_wait(&ring, NULL);
			EXPECT_TRUE(ret == (int)BUFFER || ret == -ECONNRESET ||
				    ret == -EACCES || ret == -ETIMEDOUT ||
				    ret == -EREMOTEIO)
				TH_LOG("%d", ret);
		}
		ASSERT_NE(0, ptd_outcome(fd));
		ASSERT_EQ(0, ptd_info(fd, &info));
		EXPECT_EQ(0, info.revocations);
		/* Nobody is asked for a lease any more. */
		ASSERT_EQ(0, ptm_move(self->mock, self->wanted,
				      P2PBUF_MOCK_PAGES, 0));
		close(fd);
	}
	ASSERT_TRUE(honest_works(self));
	io_uring_queue_exit(&ring);
}

/* The RDMA device goes away below connections, listener and parked requests. */
TEST_F_TIMEOUT(fault, device_removed, 120)
{
	struct p2pbuf_rdma_cmd none = {}, cmd = {
		.local_id = 1, .remote_id = 9, .length = 4096,
	};
	struct ptd_end *a = &self->honest.a;
	struct p2pbuf_rdma_info info;
	int ret, i;

	ASSERT_TRUE(honest_works(self));
	ptd_prep(&a->ring, a->fd, P2PBUF_RDMA_URING_RECV, &none, 0);
	ptd_prep(&a->ring, a->fd, P2PBUF_RDMA_URING_WRITE, &cmd, 0);
	ASSERT_EQ(2, io_uring_submit(&a->ring));
	ptd_net_unmake();
	for (i = 0; i < 2; i++) {
		ret = ptd_wait(&a->ring, NULL);
		EXPECT_TRUE(ret == -ENODEV || ret == -ECONNRESET)
			TH_LOG("%d", ret);
	}
	EXPECT_NE(0, ptd_outcome(a->fd));
	EXPECT_EQ(ENODEV, ptd_outcome(self->honest.listener));
	ASSERT_EQ(0, ptd_info(a->fd, &info));
	cmd.remote_id = 1;
	ret = ptd_io(&a->ring, a->fd, P2PBUF_RDMA_URING_WRITE, &cmd);
	EXPECT_TRUE(ret == -ENODEV || ret == -ENOTCONN);
	EXPECT_EQ(0, ptd_release(a->fd, 1));
	/* And it can come again. */
	ASSERT_EQ(0, ptd_net_make());
	ptd_pair_close(&self->honest);
	self->honest = (struct ptd_pair){};
	ASSERT_EQ(0, ptd_pair_open(&self->honest));
	ASSERT_EQ(1, ptd_import(self->honest.a.fd, self->buffer.dmabuf, 0));
	ASSERT_EQ(1, ptd_import(self->honest.b.fd, self->buffer.dmabuf, 0));
	ASSERT_EQ(0, ptd_grant(self->honest.b.fd, 1, PTD_BOTH));
	ASSERT_TRUE(honest_works(self));
}

int main(int argc, char **argv)
{
	if (argc > 3 && !strcmp(argv[1], "hostile"))
		return hostile(argc, argv);
	ptd_hostile_prepare(argv[0]);
	return ptd_main(argc, argv);
}
