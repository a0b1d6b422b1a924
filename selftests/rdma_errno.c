// SPDX-License-Identifier: GPL-2.0
/*
 * Errors of the header's table that take more than a wrong argument: another
 * RDMA device, a peer that misbehaves, memory that cannot be reached.
 *
 * rdma_uapi.c has what can be wrong about an argument, rdma_move.c and
 * rdma_fault.c how a connection ends. EHOSTUNREACH and ENODATA are said only
 * to devices that do DMA: rdma_nic.c has them.
 */
#include <liburing.h>
#include <poll.h>
#include <linux/udmabuf.h>

#include "p2pbuf_test_rig.h"
#include "p2pbuf_test_mock.h"
#include "p2pbuf_test_rdma.h"
#include "p2pbuf_test_peer.h"

#define BUFFER		65536ull

static const struct p2pbuf_rdma_limits no_limits;

/* Of the topology that is there to bounce host memory, only that matters. */
static const char bounces[] = "host memory is bounced here";

static bool host_memory_bounces(void)
{
	return ptn_topology("swiotlb");
}

/* ---- the other side --------------------------------------------------------- */

/* Whoever it calls accepts, but it goes away instead of saying that it saw. */
static int hostile_goes_away(const char *port)
{
	struct rdma_event_channel *channel = rdma_create_event_channel();
	struct rdma_addrinfo hints = { .ai_port_space = RDMA_PS_TCP }, *res;
	struct ptd_wire_hello hello = ptd_wire_hello();
	struct rdma_conn_param param = {
		.private_data = &hello,
		.private_data_len = sizeof(hello),
	};
	struct ibv_qp_init_attr attr = {
		.cap = { 4, 4, 1, 1, 0 }, .qp_type = IBV_QPT_RC,
	};
	struct rdma_cm_event *event;
	struct rdma_cm_id *id;
	struct pollfd pfd;

	if (!channel || rdma_getaddrinfo(PTD_ADDRESS, port, &hints, &res) ||
	    rdma_create_id(channel, &id, NULL, RDMA_PS_TCP) ||
	    rdma_resolve_addr(id, NULL, res->ai_dst_addr, PTD_MS) ||
	    rdma_get_cm_event(channel, &event) || rdma_ack_cm_event(event) ||
	    rdma_resolve_route(id, PTD_MS) ||
	    rdma_get_cm_event(channel, &event) || rdma_ack_cm_event(event) ||
	    rdma_create_qp(id, NULL, &attr) || rdma_connect(id, &param))
		return 2;
	pfd = (struct pollfd){ .fd = channel->fd, .events = POLLIN };
	return poll(&pfd, 1, -1) == 1 ? 0 : 3;
}

/* It answers a call, in another version. */
static int hostile_answers(const char *port)
{
	struct rdma_addrinfo hints = {
		.ai_port_space = RDMA_PS_TCP, .ai_flags = RAI_PASSIVE,
	}, *res;
	struct ptd_wire_hello hello = ptd_wire_hello();
	struct rdma_conn_param param = {
		.private_data = &hello,
		.private_data_len = sizeof(hello),
		.responder_resources = 4,
		.initiator_depth = 4,
	};
	struct ibv_qp_init_attr attr = { .cap = { 4, 4, 1, 1, 0 } };
	struct rdma_cm_id *listener, *id;

	hello.version = 2;
	if (rdma_getaddrinfo(PTD_ADDRESS, port, &hints, &res) ||
	    rdma_create_ep(&listener, res, NULL, &attr) ||
	    rdma_listen(listener, 4) || rdma_get_request(listener, &id) ||
	    rdma_accept(id, &param))
		return 2;
	return ptd_peer_wait() ? 0 : 3;
}

/* It grants what it has not; @deaf: it does not take any request at all. */
static int hostile_grants(const char *port, bool deaf)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_RTS };
	struct ptd_wire_hello hello = ptd_wire_hello();
	struct ptd_wire_msg m;
	struct ptd_peer p;

	if (ptd_peer_connect(&p, port, &hello))
		return 2;
	if (deaf && ibv_modify_qp(p.id->qp, &attr,
				  IBV_QP_STATE | IBV_QP_ACCESS_FLAGS))
		return 3;
	m = ptd_peer_message(&p, PTD_GRANT);
	/* What it leads to may end the connection before it is acknowledged. */
	ptd_peer_send(&p, &m, 0);
	if (!ptd_peer_wait())
		return 4;
	ptd_peer_close(&p);
	return 0;
}

/* rdma_errno hostile PORT PART */
static int hostile(char **argv)
{
	switch (argv[3][0]) {
	case 'a':
		return hostile_answers(argv[2]);
	case 'g':
		return hostile_goes_away(argv[2]);
	default:
		return hostile_grants(argv[2], argv[3][0] == 'd');
	}
}

/* ---- making a connection ---------------------------------------------------- */

FIXTURE(call) {
	struct ptd_hostile peer;
	int listener;
	int port;
	int fd;
};

FIXTURE_SETUP(call)
{
	self->peer.pid = 0;
	self->listener = ptd_open();
	if (self->listener == -ENOENT)
		SKIP(return, "no " PTD_NODE);
	ASSERT_LE(0, self->listener);
	self->port = ptd_listen(self->listener);
	ASSERT_LT(0, self->port);
	self->fd = ptd_open();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(call)
{
	if (self->listener < 0)
		return;
	ptd_hostile_kill(&self->peer);
	close(self->fd);
	close(self->listener);
}

#define OTHER_NETDEV	"p2pbuf1"
#define OTHER_ADDRESS	"10.79.0.1"

/* An iWARP device. Debian's kernel has none in software, the debug kernel does. */
TEST_F_TIMEOUT(call, iwarp, 120)
{
	struct p2pbuf_rdma_connect arg = {
		.size = sizeof(arg),
		.addr = { .family = AF_INET, .port = 1 },
		.timeout_ms = PTD_MS,
	};
	int ret;

	if (ptk_run("modprobe siw 2>/dev/null"))
		SKIP(return, "no siw");
	inet_pton(AF_INET, OTHER_ADDRESS, arg.addr.ip);
	ASSERT_EQ(0, ptk_run("ip link add %s type dummy", OTHER_NETDEV));
	ASSERT_EQ(0, ptk_run("ip addr add %s/24 dev %s", OTHER_ADDRESS,
			     OTHER_NETDEV));
	ASSERT_EQ(0, ptk_run("ip link set %s up", OTHER_NETDEV));
	ret = ptd_link_add("siw_p2pbuf", "siw", OTHER_NETDEV);
	if (!ret)
		ret = ptd_ioctl(self->fd, P2PBUF_RDMA_CONNECT, &arg);
	ptk_run("ip link del " OTHER_NETDEV);
	EXPECT_EQ(-EOPNOTSUPP, ret);
}

/* Somebody listens, but nobody accepts. */
TEST_F(call, nobody_accepts)
{
	struct p2pbuf_rdma_connect arg = {
		.size = sizeof(arg),
		.addr = ptd_address(self->port),
		.timeout_ms = 200,
	};

	EXPECT_EQ(-ETIMEDOUT, ptd_ioctl(self->fd, P2PBUF_RDMA_CONNECT, &arg));
}

struct caller {
	pthread_t thread;
	int port;
	int ret;
};

static int callers_refused;

static void *caller_run(void *arg)
{
	struct caller *c = arg;
	/* Longer than it takes the others to come. */
	struct p2pbuf_rdma_connect call = {
		.size = sizeof(call),
		.addr = ptd_address(c->port),
		.timeout_ms = 30 * PTD_MS,
	};
	int fd = ptd_open();

	c->ret = ptd_ioctl(fd, P2PBUF_RDMA_CONNECT, &call);
	__atomic_add_fetch(&callers_refused, 1, __ATOMIC_SEQ_CST);
	close(fd);
	return NULL;
}

/* As many as may wait, and one. When the listener ends, so do the others. */
TEST_F_TIMEOUT(call, listener_full, 120)
{
	enum { BACKLOG = 16 };
	struct caller callers[BACKLOG + 1];
	int i;

	for (i = 0; i <= BACKLOG; i++) {
		callers[i] = (struct caller){ .port = self->port };
		ASSERT_EQ(0, pthread_create(&callers[i].thread, NULL,
					    caller_run, &callers[i]));
	}
	while (!__atomic_load_n(&callers_refused, __ATOMIC_SEQ_CST))
		usleep(1000);
	close(self->listener);
	self->listener = ptd_open();
	for (i = 0; i <= BACKLOG; i++) {
		pthread_join(callers[i].thread, NULL);
		EXPECT_EQ(-ECONNREFUSED, callers[i].ret);
	}
}

TEST_F_TIMEOUT(call, caller_goes_away, 120)
{
	ASSERT_TRUE(ptd_hostile_start(&self->peer, self->port, "g"));
	EXPECT_EQ(-ECONNABORTED, ptd_accept(self->fd, self->listener,
					    no_limits));
	EXPECT_TRUE(ptd_hostile_ended(&self->peer));
}

TEST_F_TIMEOUT(call, other_version, 120)
{
	enum { PORT = 17471 };
	int tries, fd, ret;

	ASSERT_TRUE(ptd_hostile_start(&self->peer, PORT, "a"));
	for (tries = 0; tries < 600; tries++) {
		fd = ptd_open();
		ret = ptd_connect(fd, PORT, no_limits);
		close(fd);
		if (ret != -ECONNREFUSED)
			break;
		usleep(100000);
	}
	EXPECT_EQ(-EPROTO, ret);
	ASSERT_TRUE(ptd_hostile_go(&self->peer));
	EXPECT_TRUE(ptd_hostile_ended(&self->peer));
}

/*
 * Not begun anew, whatever the handler asks for: the time would be, too. The
 * file is what it was: it can still become a connection.
 */
TEST_F(call, interrupted)
{
	struct p2pbuf_rdma_accept arg = {
		.size = sizeof(arg), .listen_fd = self->listener,
		.timeout_ms = 20,
	};
	struct p2pbuf_rdma_info info;

	ptd_alarm_every(50, false);
	EXPECT_EQ(-EINTR, ptd_accept(self->fd, self->listener, no_limits));
	ptd_alarm_every(50, true);
	EXPECT_EQ(-EINTR, ptd_accept(self->fd, self->listener, no_limits));
	ptd_alarm_every(0, false);
	ASSERT_EQ(0, ptd_info(self->fd, &info));
	EXPECT_EQ(P2PBUF_RDMA_NEW, info.state);
	EXPECT_EQ(-ETIMEDOUT, ptd_ioctl(self->fd, P2PBUF_RDMA_ACCEPT, &arg));
}

/*
 * A ring of this thread's whose completions come every 20 ms and interrupt
 * what it waits for; an alarm ends that if it never does.
 */
static bool ticks_start(struct io_uring *ring)
{
	static struct __kernel_timespec ts = { .tv_nsec = 20000000 };
	const struct sigaction action = { .sa_handler = ptd_on_alarm };
	struct io_uring_sqe *sqe;

	if (io_uring_queue_init(1024, ring, 0))
		return false;
	sqe = io_uring_get_sqe(ring);
	io_uring_prep_timeout(sqe, &ts, 0, IORING_TIMEOUT_MULTISHOT);
	sigaction(SIGALRM, &action, NULL);
	alarm(5 * ptk_slow());
	return io_uring_submit(ring) == 1;
}

static void ticks_end(struct io_uring *ring)
{
	alarm(0);
	io_uring_queue_exit(ring);
}

/* io_uring's task work: begun anew, but not with all of the time. */
TEST_F(call, accept_by_task_work)
{
	struct p2pbuf_rdma_accept arg = {
		.size = sizeof(arg), .listen_fd = self->listener,
		.timeout_ms = 200,
	};
	struct io_uring ring;

	ASSERT_TRUE(ticks_start(&ring));
	EXPECT_EQ(-ETIMEDOUT, ptd_ioctl(self->fd, P2PBUF_RDMA_ACCEPT, &arg));
	EXPECT_GE(200, arg.timeout_ms);
	EXPECT_LT(1, io_uring_cq_ready(&ring));
	ticks_end(&ring);
}

/* ---- a peer that refuses ---------------------------------------------------- */

/* checkpatch takes a type in a macro for a factor. */
#define CALL_DATA FIXTURE_DATA(call)

/* What a WRITE to it ends with, and the connection too. */
static void write_refused(struct __test_metadata *_metadata,
			  CALL_DATA *self, const char *part,
			  int error)
{
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = 4096,
	};
	struct p2pbuf_rdma_remote_info info;
	struct ptn_buffer buffer;
	struct io_uring ring;
	int ret;

	if (host_memory_bounces())
		SKIP(return, "%s", bounces);
	ret = ptn_buffer_alloc(&buffer, PTN_UDMABUF, BUFFER);
	if (ret == -ENOENT)
		SKIP(return, "no udmabuf");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, ptd_ring(&ring, 4));
	ASSERT_TRUE(ptd_hostile_start(&self->peer, self->port, part));
	ASSERT_EQ(0, ptd_accept(self->fd, self->listener, no_limits));
	ASSERT_EQ(1, ptd_import(self->fd, buffer.dmabuf, 1));
	ASSERT_EQ(0, ptd_remote_info(self->fd, 1, PTD_MS, &info));
	EXPECT_EQ(-error, ptd_io(&ring, self->fd, P2PBUF_RDMA_URING_WRITE,
				 &cmd));
	EXPECT_EQ(error, ptd_outcome(self->fd));
	ASSERT_TRUE(ptd_hostile_go(&self->peer));
	EXPECT_TRUE(ptd_hostile_ended(&self->peer));
	io_uring_queue_exit(&ring);
	ptn_buffer_free(&buffer);
}

/* The key is nobody's. */
TEST_F_TIMEOUT(call, peer_refuses_access, 120)
{
	write_refused(_metadata, self, "k", EACCES);
}

/* Its queue pair takes no requests. */
TEST_F_TIMEOUT(call, peer_refuses_requests, 120)
{
	write_refused(_metadata, self, "d", EREMOTEIO);
}

/* ---- importing -------------------------------------------------------------- */

FIXTURE(import) {
	struct ptd_pair pair;
	struct ptm_lent lent;
	int mock;
};

FIXTURE_SETUP(import)
{
	int ret = ptd_open();

	memset(self, 0, sizeof(*self));
	if (ret == -ENOENT)
		SKIP(return, "no " PTD_NODE);
	ASSERT_LE(0, ret);
	close(ret);
	self->mock = ptm_open();
	if (self->mock == -ENOENT)
		SKIP(return, "no " P2PBUF_MOCK_DEVICE);
	ASSERT_LE(0, self->mock);
	/* No case waits for their end. */
	self->pair.limits.recall_ms = 20000;
	self->pair.limits.wait_ms = 60000;
	ASSERT_EQ(0, ptd_pair_open(&self->pair));
}

FIXTURE_TEARDOWN(import)
{
	if (self->mock <= 0)
		return;
	ptd_pair_close(&self->pair);
	ptm_give_back(&self->lent);
	close(self->mock);
}

#define IMPORT_DATA FIXTURE_DATA(import)

/* A buffer of the mock, in a BAR lent to it if that is where it is to be. */
static int mock_buffer(IMPORT_DATA *self, __u32 placement, __u32 shape)
{
	int ret = 0, fd;

	if (placement == P2PBUF_MOCK_BAR && !*self->lent.name)
		ret = ptm_lend_bar(&self->lent);
	if (ret)
		return ret;
	fd = ptm_create(self->mock, BUFFER, placement, 0);
	if (fd >= 0)
		ret = ptm_shape(self->mock, fd, shape);
	return ret ? ret : fd;
}

static int import(IMPORT_DATA *self, int dmabuf, __u64 length,
		  struct p2pbuf_path_info *path)
{
	struct p2pbuf_rdma_import arg = {
		.size = sizeof(arg),
		.flags = P2PBUF_RDMA_IMPORT_ALLOW_SYSTEM,
		.dmabuf_fd = dmabuf,
		.id = 1,
		.length = length,
	};
	int ret = ptd_ioctl(self->pair.a.fd, P2PBUF_RDMA_IMPORT, &arg);

	*path = arg.path;
	return ret;
}

/* A BAR, and rxe looks for the pages behind it. */
TEST_F(import, no_pages)
{
	struct p2pbuf_path_info path;
	int fd = mock_buffer(self, P2PBUF_MOCK_BAR, P2PBUF_MOCK_RAW);

	if (fd == -ENODEV)
		SKIP(return, "no function to lend");
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EOPNOTSUPP, import(self, fd, 0, &path));
	close(fd);
}

TEST_F(import, dead_bar)
{
	struct p2pbuf_path_info path;
	int fd = mock_buffer(self, P2PBUF_MOCK_BAR, P2PBUF_MOCK_RAW);

	if (fd == -ENODEV)
		SKIP(return, "no function to lend");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, pci_set_decode(self->lent.name, false));
	EXPECT_EQ(-EHOSTDOWN, import(self, fd, 0, &path));
	EXPECT_EQ(P2PBUF_REASON_DEAD_BAR, path.reason);
	EXPECT_EQ(0, pci_set_decode(self->lent.name, true));
	close(fd);
}

TEST_F(import, leads_nowhere)
{
	struct p2pbuf_path_info path;
	int fd = mock_buffer(self, P2PBUF_MOCK_PAGES, P2PBUF_MOCK_NOBODY);

	if (host_memory_bounces())
		SKIP(return, "%s", bounces);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EFAULT, import(self, fd, 0, &path));
	EXPECT_EQ(P2PBUF_REASON_NOWHERE, path.reason);
	close(fd);
}

/* What an importer gets where host memory is bounced. */
TEST_F(import, bounced)
{
	struct p2pbuf_path_info path;
	int fd;

	if (!host_memory_bounces())
		SKIP(return, "no bounce buffers here");
	fd = mock_buffer(self, P2PBUF_MOCK_PAGES, P2PBUF_MOCK_SINGLE);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EADDRNOTAVAIL, import(self, fd, 0, &path));
	EXPECT_EQ(P2PBUF_REASON_BOUNCE, path.reason);
	close(fd);
}

TEST_F(import, exporter_refuses)
{
	struct p2pbuf_path_info path;
	int fd = mock_buffer(self, P2PBUF_MOCK_PAGES, P2PBUF_MOCK_WHOLE);

	if (host_memory_bounces())
		SKIP(return, "%s", bounces);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ptm_rule(self->mock, fd, P2PBUF_MOCK_OP_ATTACH,
			      P2PBUF_MOCK_FAIL, EXDEV, 0, 1));
	EXPECT_EQ(-EXDEV, import(self, fd, 0, &path));
	EXPECT_EQ(P2PBUF_REASON_EXPORTER, path.reason);
	EXPECT_EQ(0, import(self, fd, 0, &path));
	close(fd);
}

/* The same 8 MiB and a page again and again, until it is more than 8 GiB. */
#define CHUNK		(8 * PTD_MIB + 4096)
#define CHUNKS		1024u
#define CHUNKS_LIMIT	"/sys/module/udmabuf/parameters/size_limit_mb"

static int large_buffer(void)
{
	struct udmabuf_create_list *list;
	int device, memfd, fd = -ENOMEM;
	unsigned int i;

	device = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	if (device < 0)
		return -errno;
	list = calloc(1, sizeof(*list) + (CHUNKS + 1) * sizeof(list->list[0]));
	memfd = ptk_memfd(CHUNK);
	if (list && memfd >= 0) {
		list->flags = UDMABUF_FLAGS_CLOEXEC;
		list->count = CHUNKS;
		for (i = 0; i < CHUNKS; i++)
			list->list[i] = (struct udmabuf_create_item){
				.memfd = memfd, .size = CHUNK,
			};
		fd = ioctl(device, UDMABUF_CREATE_LIST, list);
		if (fd < 0)
			fd = -errno;
	}
	free(list);
	close(memfd);
	close(device);
	return fd;
}

static bool limit_read(char *text, size_t size)
{
	int fd = open(CHUNKS_LIMIT, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	if (fd >= 0) {
		n = read(fd, text, size - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = 0;
	return n > 0;
}

TEST_F_TIMEOUT(import, too_many_registrations, 120)
{
	const __u64 most = P2PBUF_RDMA_MAX_SEGMENTS * 2 * PTD_MIB;
	struct p2pbuf_path_info path;
	char before[32];
	int fd;

	if (host_memory_bounces())
		SKIP(return, "%s", bounces);
	if (!limit_read(before, sizeof(before)))
		SKIP(return, "no udmabuf");
	ASSERT_EQ(0, ptk_write(CHUNKS_LIMIT, "16384"));
	fd = large_buffer();
	ptk_write(CHUNKS_LIMIT, before);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EFBIG, import(self, fd, 0, &path));
	EXPECT_EQ(-EFBIG, import(self, fd, most + 4096, &path));
	close(fd);
}

/* ---- requests on a buffer that has moved ------------------------------------- */

/* To where the device does not reach it, and back. */
TEST_F_TIMEOUT(import, moved_out_of_reach, 120)
{
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = 4096,
	};
	struct ptd_end *a = &self->pair.a, *b = &self->pair.b;
	struct p2pbuf_path_info path;
	int fd, peer;

	if (host_memory_bounces())
		SKIP(return, "%s", bounces);
	peer = mock_buffer(self, P2PBUF_MOCK_PAGES, P2PBUF_MOCK_WHOLE);
	ASSERT_LE(0, peer);
	fd = mock_buffer(self, P2PBUF_MOCK_BAR, P2PBUF_MOCK_RAW);
	if (fd == -ENODEV)
		SKIP(return, "no function to lend");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ptm_move(self->mock, fd, P2PBUF_MOCK_PAGES, 0));
	ASSERT_EQ(0, import(self, fd, 0, &path));
	ASSERT_EQ(1, ptd_import(b->fd, peer, 1));
	ASSERT_EQ(0, ptd_grant(b->fd, 1, PTD_BOTH));
	EXPECT_EQ(4096, ptd_io(&a->ring, a->fd, P2PBUF_RDMA_URING_WRITE,
			       &cmd));
	ASSERT_EQ(0, ptm_move(self->mock, fd, P2PBUF_MOCK_BAR, 0));
	EXPECT_EQ(-EOPNOTSUPP, ptd_io(&a->ring, a->fd,
				      P2PBUF_RDMA_URING_WRITE, &cmd));
	ASSERT_EQ(0, pci_set_decode(self->lent.name, false));
	EXPECT_EQ(-EHOSTDOWN, ptd_io(&a->ring, a->fd,
				     P2PBUF_RDMA_URING_WRITE, &cmd));
	ASSERT_EQ(0, pci_set_decode(self->lent.name, true));
	ASSERT_EQ(0, ptm_move(self->mock, fd, P2PBUF_MOCK_PAGES, 0));
	EXPECT_EQ(4096, ptd_io(&a->ring, a->fd, P2PBUF_RDMA_URING_WRITE,
			       &cmd));
	close(fd);
	close(peer);
}

/* ---- grants that come to nothing ------------------------------------------- */

TEST_F(import, wait_interrupted)
{
	struct p2pbuf_rdma_remote_info info;

	ptd_alarm_every(50, true);
	EXPECT_EQ(-EINTR, ptd_remote_info(self->pair.a.fd, 1, 10 * PTD_MS,
					  &info));
	ptd_alarm_every(0, false);
}

TEST_F(import, wait_by_task_work)
{
	struct p2pbuf_rdma_remote_info info;
	struct io_uring ring;

	ASSERT_TRUE(ticks_start(&ring));
	EXPECT_EQ(-ETIMEDOUT, ptd_remote_info(self->pair.a.fd, 1, 200, &info));
	EXPECT_LT(1, io_uring_cq_ready(&ring));
	ticks_end(&ring);
}

static __u32 granted(int fd)
{
	struct p2pbuf_rdma_buffer_info info;

	return ptd_buffer_info(fd, 1, &info) ? ~0u : info.granted;
}

/*
 * An id that was granted once is given to another import, whose grant cannot
 * be mapped: the peer hears of that, and of nothing that it need not believe.
 */
TEST_F_TIMEOUT(import, granted_anew_in_vain, 120)
{
	struct ptd_end *a = &self->pair.a, *b = &self->pair.b;
	struct p2pbuf_rdma_remote_info remote;
	struct p2pbuf_path_info path;
	int fd;

	if (host_memory_bounces())
		SKIP(return, "%s", bounces);
	fd = mock_buffer(self, P2PBUF_MOCK_PAGES, P2PBUF_MOCK_WHOLE);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, import(self, fd, 0, &path));
	ASSERT_EQ(0, ptd_grant(a->fd, 1, PTD_BOTH));
	ASSERT_EQ(0, ptd_remote_info(b->fd, 1, PTD_MS, &remote));
	ASSERT_EQ(0, ptd_release(a->fd, 1));
	ASSERT_EQ(0, import(self, fd, 0, &path));
	ASSERT_EQ(0, ptm_revoke(self->mock, fd, EXDEV));
	ASSERT_EQ(0, ptd_grant(a->fd, 1, PTD_BOTH));
	while (granted(a->fd) == PTD_BOTH)
		usleep(1000);
	ASSERT_EQ(0, ptm_revoke(self->mock, fd, 0));
	ASSERT_EQ(0, ptd_grant(a->fd, 1, PTD_BOTH));
	EXPECT_EQ(0, ptd_regranted(b->fd, 1, &remote));
	close(fd);
}

/* Released between two registrations: nobody waits for the next one. */
TEST_F_TIMEOUT(import, released_between, 120)
{
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = 4096,
	};
	struct ptd_end *a = &self->pair.a, *b = &self->pair.b;
	struct p2pbuf_rdma_remote_info remote;
	struct p2pbuf_path_info path;
	int fd, peer, fence;

	if (host_memory_bounces())
		SKIP(return, "%s", bounces);
	peer = mock_buffer(self, P2PBUF_MOCK_PAGES, P2PBUF_MOCK_WHOLE);
	fd = mock_buffer(self, P2PBUF_MOCK_PAGES, P2PBUF_MOCK_WHOLE);
	ASSERT_LE(0, peer);
	ASSERT_LE(0, fd);
	ASSERT_EQ(1, ptd_import(b->fd, peer, 1));
	ASSERT_EQ(0, import(self, fd, 0, &path));
	ASSERT_EQ(0, ptd_grant(a->fd, 1, PTD_BOTH));
	ASSERT_EQ(0, ptd_remote_info(b->fd, 1, PTD_MS, &remote));
	fence = ptm_fence(self->mock, fd, P2PBUF_MOCK_KERNEL, 0,
			  P2PBUF_MOCK_BACKGROUND);
	ASSERT_LT(0, fence);
	ASSERT_EQ(0, ptm_move(self->mock, fd, P2PBUF_MOCK_PAGES, 0));
	ptd_prep(&b->ring, b->fd, P2PBUF_RDMA_URING_WRITE, &cmd, 0);
	ASSERT_EQ(1, io_uring_submit(&b->ring));
	ASSERT_EQ(0, ptd_release(a->fd, 1));
	EXPECT_EQ(-EACCES, ptd_wait(&b->ring, NULL));
	EXPECT_EQ(0, ptm_call(self->mock, P2PBUF_MOCK_SIGNAL, fence));
	close(fd);
	close(peer);
}

/* A request of ours has it registered, without rights for the peer. */
static int registered_buffer(IMPORT_DATA *self, int peer)
{
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = 4096,
	};
	int fd = mock_buffer(self, P2PBUF_MOCK_PAGES, P2PBUF_MOCK_WHOLE);
	struct ptd_end *a = &self->pair.a, *b = &self->pair.b;
	struct p2pbuf_path_info path;

	if (fd < 0 || import(self, fd, 0, &path) ||
	    ptd_import(b->fd, peer, 1) != 1 || ptd_grant(b->fd, 1, PTD_BOTH) ||
	    ptd_io(&a->ring, a->fd, P2PBUF_RDMA_URING_WRITE, &cmd) != 4096)
		return -EIO;
	return fd;
}

/* Interrupted when there is no way back, it is given all the same. */
TEST_F_TIMEOUT(import, grant_interrupted, 120)
{
	struct ptd_end *a = &self->pair.a, *b = &self->pair.b;
	struct p2pbuf_rdma_remote_info remote;
	int fd, peer, fence;

	if (host_memory_bounces())
		SKIP(return, "%s", bounces);
	peer = mock_buffer(self, P2PBUF_MOCK_PAGES, P2PBUF_MOCK_WHOLE);
	ASSERT_LE(0, peer);
	fd = registered_buffer(self, peer);
	ASSERT_LE(0, fd);
	fence = ptm_fence(self->mock, fd, P2PBUF_MOCK_KERNEL, 0,
			  P2PBUF_MOCK_BACKGROUND);
	ASSERT_LT(0, fence);
	ptd_alarm_every(50, false);
	EXPECT_EQ(0, ptd_grant(a->fd, 1, PTD_BOTH));
	ptd_alarm_every(0, false);
	EXPECT_EQ(PTD_BOTH, granted(a->fd));
	EXPECT_EQ(-ETIMEDOUT, ptd_remote_info(b->fd, 1, 0, &remote));
	ASSERT_EQ(0, ptm_call(self->mock, P2PBUF_MOCK_SIGNAL, fence));
	EXPECT_EQ(0, ptd_remote_info(b->fd, 1, PTD_MS, &remote));
	close(fd);
	close(peer);
}

/* Refused once, and mapped the next time: it is not granted then, either. */
TEST_F_TIMEOUT(import, grant_refused, 120)
{
	struct ptd_end *a = &self->pair.a, *b = &self->pair.b;
	struct p2pbuf_rdma_remote_info remote;
	int fd, peer, i;

	if (host_memory_bounces())
		SKIP(return, "%s", bounces);
	peer = mock_buffer(self, P2PBUF_MOCK_PAGES, P2PBUF_MOCK_WHOLE);
	ASSERT_LE(0, peer);
	fd = registered_buffer(self, peer);
	ASSERT_LE(0, fd);
	for (i = 0; i < 20; i++) {
		struct p2pbuf_rdma_cmd cmd = {
			.local_id = 1, .remote_id = 1, .length = 4096,
		};

		ASSERT_EQ(0, ptm_rule(self->mock, fd, P2PBUF_MOCK_OP_MAP,
				      P2PBUF_MOCK_FAIL, EXDEV, 0, 1));
		ASSERT_EQ(-EXDEV, ptd_grant(a->fd, 1, PTD_BOTH));
		EXPECT_EQ(0, granted(a->fd));
		/* What was not given is not to be withdrawn. */
		EXPECT_EQ(-EALREADY, ptd_recall(a->fd, 1));
		ASSERT_EQ(4096, ptd_io(&a->ring, a->fd,
				       P2PBUF_RDMA_URING_WRITE, &cmd));
		EXPECT_EQ(-ETIMEDOUT, ptd_remote_info(b->fd, 1, 0, &remote));
	}
	ASSERT_EQ(0, ptd_grant(a->fd, 1, PTD_BOTH));
	EXPECT_EQ(0, ptd_regranted(b->fd, 1, &remote));
	close(fd);
	close(peer);
}

#define SEGMENTS	32u

static struct p2pbuf_rdma_cmd page_to(__u32 remote_id, __u32 local_id)
{
	return (struct p2pbuf_rdma_cmd){
		.local_id = local_id, .remote_id = remote_id, .length = 4096,
	};
}

/*
 * Granted while a request of ours has it registered: what the peer hears of is
 * a registration that has the rights, which is the next one. That the buffer
 * cannot be moved meanwhile keeps the first one until its last key is there.
 */
static void granted_meanwhile(struct __test_metadata *_metadata,
			      IMPORT_DATA *self, int fd, int id)
{
	struct p2pbuf_rdma_cmd there = page_to(64, id), back = page_to(id, 1);
	struct ptd_end *a = &self->pair.a, *b = &self->pair.b;
	int hold;

	ASSERT_EQ(id, ptd_import(a->fd, fd, id));
	ptd_prep(&b->ring, b->fd, P2PBUF_RDMA_URING_WRITE, &back, 0);
	ASSERT_EQ(1, io_uring_submit(&b->ring));
	hold = ptm_hold(self->mock, fd, P2PBUF_MOCK_HOLD_PLAIN, 20);
	ASSERT_LT(0, hold);
	ASSERT_EQ(0, ptm_hold_wait(self->mock, hold, P2PBUF_MOCK_HOLD_HELD,
				   PTM_LONG_MS));
	ptd_prep(&a->ring, a->fd, P2PBUF_RDMA_URING_WRITE, &there, 0);
	ASSERT_EQ(1, io_uring_submit(&a->ring));
	usleep(25 * (id - 1));
	ASSERT_EQ(0, ptd_grant(a->fd, id, PTD_BOTH));
	ASSERT_EQ(4096, ptd_wait(&a->ring, NULL))
		TH_LOG("round %d", id);
	ASSERT_EQ(4096, ptd_wait(&b->ring, NULL))
		TH_LOG("round %d", id);
	ptm_call(self->mock, P2PBUF_MOCK_CLOSE, hold);
	ASSERT_EQ(0, ptd_release(a->fd, id));
}

TEST_F_TIMEOUT(import, granted_while_registered, 120)
{
	struct ptd_end *a = &self->pair.a, *b = &self->pair.b;
	struct p2pbuf_rdma_remote_info remote;
	int fd, peer, id;

	if (host_memory_bounces())
		SKIP(return, "%s", bounces);
	fd = ptm_create(self->mock, SEGMENTS * 2 * PTD_MIB, P2PBUF_MOCK_PAGES,
			0);
	ASSERT_LE(0, fd);
	peer = mock_buffer(self, P2PBUF_MOCK_PAGES, P2PBUF_MOCK_WHOLE);
	ASSERT_LE(0, peer);
	ASSERT_EQ(1, ptd_import(b->fd, peer, 1));
	ASSERT_EQ(64, ptd_import(b->fd, peer, 64));
	ASSERT_EQ(0, ptd_grant(b->fd, 64, PTD_BOTH));
	ASSERT_EQ(0, ptd_remote_info(a->fd, 64, PTD_MS, &remote));
	for (id = 1; id <= 24; id++)
		granted_meanwhile(_metadata, self, fd, id);
	close(fd);
	close(peer);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "hostile"))
		return hostile(argv);
	ptd_hostile_prepare(argv[0]);
	return ptd_main(argc, argv);
}
