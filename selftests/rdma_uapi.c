// SPDX-License-Identifier: GPL-2.0
/*
 * Each ioctl and each command with everything that can be wrong about it, and
 * the errno that the header promises.
 */
#include <liburing.h>
#include <netinet/in.h>

#include "p2pbuf_test_rig.h"
#include "p2pbuf_test_rdma.h"
#include "p2pbuf_test_changer.h"

#define BUFFER		(4 * PTD_MIB)
#define PAGE		4096ull

/* ---- a file that is nothing yet -------------------------------------------- */

FIXTURE(file) {
	int fd;
};

FIXTURE_SETUP(file)
{
	self->fd = ptd_open();
	if (self->fd == -ENOENT)
		SKIP(return, "no " PTD_NODE);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(file)
{
	if (self->fd >= 0)
		close(self->fd);
}

/* Sizes of all ioctls: short, long with zeros, long with something else. */
TEST_F(file, sizes)
{
	static const unsigned long cmds[] = {
		P2PBUF_RDMA_LISTEN, P2PBUF_RDMA_ACCEPT, P2PBUF_RDMA_CONNECT,
		P2PBUF_RDMA_IMPORT, P2PBUF_RDMA_RELEASE, P2PBUF_RDMA_GRANT,
		P2PBUF_RDMA_RECALL, P2PBUF_RDMA_INFO, P2PBUF_RDMA_BUFFER_INFO,
		P2PBUF_RDMA_REMOTE_INFO, P2PBUF_RDMA_CANCEL,
		P2PBUF_RDMA_SHUTDOWN,
	};
	__u32 words[2048];
	size_t i;

	for (i = 0; i < sizeof(cmds) / sizeof(cmds[0]); i++) {
		__u32 bytes = _IOC_SIZE(cmds[i]);

		memset(words, 0, sizeof(words));
		words[0] = bytes - 4;
		EXPECT_EQ(-EINVAL, ptd_ioctl(self->fd, cmds[i], words))
			TH_LOG("ioctl %zu", i);
		words[0] = 0;
		EXPECT_EQ(-EINVAL, ptd_ioctl(self->fd, cmds[i], words));
		words[0] = bytes + 8;
		words[bytes / 4 + 1] = 1;
		EXPECT_EQ(-E2BIG, ptd_ioctl(self->fd, cmds[i], words))
			TH_LOG("ioctl %zu", i);
		words[0] = 5000;
		EXPECT_EQ(-E2BIG, ptd_ioctl(self->fd, cmds[i], words));
		EXPECT_EQ(-EFAULT, ptd_ioctl(self->fd, cmds[i], NULL));
	}
	EXPECT_EQ(-ENOTTY, ptd_ioctl(self->fd,
				     _IO(P2PBUF_RDMA_IOC_MAGIC, 0x0c), words));
	EXPECT_EQ(-ENOTTY, ptd_ioctl(self->fd, _IO('R', 0), words));
}

TEST_F(file, not_connected)
{
	struct p2pbuf_rdma_remote_info remote;
	struct p2pbuf_rdma_cmd cmd = { .local_id = 1, .remote_id = 1,
				       .length = 1 };
	struct p2pbuf_rdma_info info;
	struct io_uring ring;

	EXPECT_EQ(-ENOTCONN, ptd_import(self->fd, 0, 0));
	EXPECT_EQ(-ENOENT, ptd_release(self->fd, 1));
	EXPECT_EQ(-ENOENT, ptd_grant(self->fd, 1, PTD_BOTH));
	EXPECT_EQ(-ENOENT, ptd_recall(self->fd, 1));
	EXPECT_EQ(-ENOTCONN, ptd_shutdown(self->fd));
	EXPECT_EQ(-ENOTCONN, ptd_remote_info(self->fd, 1, 1000, &remote));
	EXPECT_EQ(-ENOENT, ptd_remote_info(self->fd, 0, 0, &remote));
	EXPECT_EQ(-ENOENT, ptd_remote_info(self->fd, 65, 0, &remote));
	ASSERT_EQ(0, ptd_info(self->fd, &info));
	EXPECT_EQ(P2PBUF_RDMA_NEW, info.state);
	ASSERT_EQ(0, ptd_ring(&ring, 4));
	EXPECT_EQ(-ENOTCONN, ptd_io(&ring, self->fd, P2PBUF_RDMA_URING_WRITE,
				    &cmd));
	io_uring_queue_exit(&ring);
}

TEST_F(file, connecting)
{
	struct p2pbuf_rdma_connect connect = {
		.size = sizeof(connect),
		.addr = ptd_address(1),
		.timeout_ms = PTD_MS,
	};
	struct p2pbuf_rdma_accept accept = {
		.size = sizeof(accept),
		.listen_fd = -1,
	};
	struct p2pbuf_rdma_listen listen = {
		.size = sizeof(listen),
		.addr = ptd_address(0),
	};
	int pipes[2], fd;

	connect.addr.family = AF_UNIX;
	EXPECT_EQ(-EAFNOSUPPORT, ptd_ioctl(self->fd, P2PBUF_RDMA_CONNECT,
					   &connect));
	connect.addr = ptd_address(1);
	connect.addr.ip[4] = 1;
	EXPECT_EQ(-EINVAL, ptd_ioctl(self->fd, P2PBUF_RDMA_CONNECT, &connect));
	connect.addr = ptd_address(1);
	connect.flags = 1;
	EXPECT_EQ(-EINVAL, ptd_ioctl(self->fd, P2PBUF_RDMA_CONNECT, &connect));
	connect.flags = 0;
	connect.reserved = 1;
	EXPECT_EQ(-EINVAL, ptd_ioctl(self->fd, P2PBUF_RDMA_CONNECT, &connect));
	connect.reserved = 0;
	connect.limits.recall_ms = P2PBUF_RDMA_MAX_RECALL_MS + 1;
	EXPECT_EQ(-EINVAL, ptd_ioctl(self->fd, P2PBUF_RDMA_CONNECT, &connect));
	listen.flags = 1;
	EXPECT_EQ(-EINVAL, ptd_ioctl(self->fd, P2PBUF_RDMA_LISTEN, &listen));
	listen.flags = 0;
	listen.addr.ip[3] = 99;
	EXPECT_GT(0, ptd_ioctl(self->fd, P2PBUF_RDMA_LISTEN, &listen));
	accept.flags = 1;
	EXPECT_EQ(-EINVAL, ptd_ioctl(self->fd, P2PBUF_RDMA_ACCEPT, &accept));
	accept.flags = 0;
	accept.limits.recall_ms = ~0u;
	EXPECT_EQ(-EINVAL, ptd_ioctl(self->fd, P2PBUF_RDMA_ACCEPT, &accept));
	accept.limits.recall_ms = 0;
	EXPECT_EQ(-EBADF, ptd_ioctl(self->fd, P2PBUF_RDMA_ACCEPT, &accept));
	ASSERT_EQ(0, pipe(pipes));
	accept.listen_fd = pipes[0];
	EXPECT_EQ(-EBADFD, ptd_ioctl(self->fd, P2PBUF_RDMA_ACCEPT, &accept));
	/* A file of the node that does not listen, and itself. */
	accept.listen_fd = self->fd;
	EXPECT_EQ(-EBADFD, ptd_ioctl(self->fd, P2PBUF_RDMA_ACCEPT, &accept));
	fd = ptd_open();
	ASSERT_LE(0, fd);
	ASSERT_LT(0, ptd_listen(fd));
	EXPECT_EQ(-EISCONN, ptd_listen(fd));
	EXPECT_EQ(-EISCONN, ptd_connect(fd, 1,
					(struct p2pbuf_rdma_limits){}));
	accept.listen_fd = fd;
	accept.timeout_ms = 20;
	EXPECT_EQ(-ETIMEDOUT, ptd_ioctl(self->fd, P2PBUF_RDMA_ACCEPT,
					&accept));
	/* None of this has changed the file; this ends it. */
	EXPECT_EQ(-ECONNREFUSED, ptd_connect(self->fd, 1,
					     (struct p2pbuf_rdma_limits){}));
	EXPECT_EQ(-EISCONN, ptd_connect(self->fd, 1,
					(struct p2pbuf_rdma_limits){}));
	close(fd);
}

/* ---- a connection ---------------------------------------------------------- */

FIXTURE(connection) {
	struct ptd_pair pair;
	struct ptn_buffer buffer;
	struct ptd_end *a;
	struct ptd_end *b;
};

FIXTURE_SETUP(connection)
{
	int ret = ptd_open();

	if (ret == -ENOENT)
		SKIP(return, "no " PTD_NODE);
	ASSERT_LE(0, ret);
	close(ret);
	ret = ptn_buffer_alloc(&self->buffer, PTN_UDMABUF, BUFFER);
	if (ret == -ENOENT)
		SKIP(return, "no udmabuf");
	ASSERT_EQ(0, ret);
	self->pair = (struct ptd_pair){ .limits = { .wait_ms = 400 } };
	ASSERT_EQ(0, ptd_pair_open(&self->pair));
	self->a = &self->pair.a;
	self->b = &self->pair.b;
}

FIXTURE_TEARDOWN(connection)
{
	ptd_pair_close(&self->pair);
	ptn_buffer_free(&self->buffer);
}

TEST_F(connection, info)
{
	struct p2pbuf_rdma_info info;

	ASSERT_EQ(0, ptd_info(self->a->fd, &info));
	EXPECT_EQ(P2PBUF_RDMA_UP, info.state);
	EXPECT_EQ(0, info.error);
	EXPECT_EQ(P2PBUF_RDMA_F_CPU, info.flags);
	EXPECT_EQ(500, info.limits.recall_ms);
	EXPECT_EQ(400, info.limits.wait_ms);
	EXPECT_EQ(2 * PTD_MIB, info.segment);
	EXPECT_STREQ(PTD_RXE, (char *)info.device);
	EXPECT_EQ(-EISCONN, ptd_listen(self->a->fd));
}

/* Host memory of the exporter. Returns its open node. */
static int exporter_buffer(int *dmabuf)
{
	struct drm_p2pbuf_gem_create create;
	int node = ptx_open(0);

	if (node < 0)
		return node;
	if (ptx_create(node, BUFFER, P2PBUF_PLACEMENT_SYSTEM, 0, &create)) {
		close(node);
		return -EIO;
	}
	*dmabuf = ptx_export(node, create.handle, true);
	return node;
}

TEST_F(connection, import)
{
	struct p2pbuf_rdma_import arg, good = {
		.size = sizeof(good),
		.flags = P2PBUF_RDMA_IMPORT_ALLOW_SYSTEM,
		.dmabuf_fd = self->buffer.dmabuf,
	};
	int fd = self->a->fd, node;
	__u32 i;

#define TRY(_errno, ...) do {						\
		arg = good;						\
		__VA_ARGS__;						\
		EXPECT_EQ(_errno, ptd_ioctl(fd, P2PBUF_RDMA_IMPORT, &arg)); \
	} while (0)

	TRY(-EINVAL, arg.flags = 2);
	TRY(-EINVAL, arg.reserved[0] = 1);
	TRY(-EINVAL, arg.reserved[1] = 1);
	TRY(-EBADF, arg.dmabuf_fd = -1);
	TRY(-EBADFD, arg.dmabuf_fd = fd);
	TRY(-EDOM, arg.offset = 1);
	TRY(-EDOM, arg.length = PAGE + 8);
	TRY(-ERANGE, arg.offset = BUFFER);
	TRY(-ERANGE, arg.length = BUFFER + PAGE);
	TRY(-ERANGE, arg.offset = ~(PAGE - 1); arg.length = 2 * PAGE);
	TRY(-ERANGE, arg.id = P2PBUF_RDMA_MAX_BUFFERS + 1);
	TRY(-EREMOTEIO, arg.flags = 0);
	EXPECT_EQ(P2PBUF_PATH_SYSTEM, arg.path.path);
	EXPECT_EQ(P2PBUF_REASON_NOT_PEER, arg.path.reason);
	TRY(0, arg.id = 2; arg.offset = PAGE);
	EXPECT_EQ(2, arg.id);
	EXPECT_EQ(BUFFER - PAGE, arg.length);
	EXPECT_EQ(PTD_BOTH, arg.rights);
	EXPECT_EQ(2 * PTD_MIB, arg.segment);
	TRY(-EEXIST, arg.id = 2);
	/* So often only one whose exporter says that this is no leak. */
	node = exporter_buffer(&good.dmabuf_fd);
	if (node < 0)
		SKIP(return, "no exporter");
	for (i = 1; i <= P2PBUF_RDMA_MAX_BUFFERS; i++) {
		if (i == 2)
			continue;
		TRY(0, arg.length = PAGE);
		EXPECT_EQ(i, arg.id);
	}
	TRY(-EMFILE, arg.id = 0);
	EXPECT_EQ(0, ptd_release(fd, 2));
	EXPECT_EQ(-ENOENT, ptd_release(fd, 2));
	TRY(0, arg.id = 0);
	EXPECT_EQ(2, arg.id);
#undef TRY
	close(good.dmabuf_fd);
	close(node);
}

TEST_F(connection, buffer_info)
{
	struct p2pbuf_rdma_buffer_info info;

	ASSERT_EQ(1, ptd_import(self->a->fd, self->buffer.dmabuf, 0));
	ASSERT_EQ(0, ptd_buffer_info(self->a->fd, 1, &info));
	EXPECT_EQ(PTD_BOTH, info.rights);
	EXPECT_EQ(0, info.granted);
	EXPECT_EQ(BUFFER, info.length);
	EXPECT_EQ(P2PBUF_PATH_SYSTEM, info.path.path);
	EXPECT_EQ(1, info.path.generation);
	EXPECT_EQ(-ENOENT, ptd_buffer_info(self->a->fd, 2, &info));
	EXPECT_EQ(-ENOENT, ptd_buffer_info(self->a->fd, 0, &info));
}

TEST_F(connection, grant)
{
	struct p2pbuf_rdma_remote_info info;
	struct p2pbuf_rdma_grant arg = {
		.size = sizeof(arg), .id = 1, .rights = PTD_BOTH, .flags = 1,
	};
	int fd = self->a->fd;
	__u64 epoch;

	ASSERT_EQ(1, ptd_import(fd, self->buffer.dmabuf, 0));
	EXPECT_EQ(-EINVAL, ptd_ioctl(fd, P2PBUF_RDMA_GRANT, &arg));
	EXPECT_EQ(-EINVAL, ptd_grant(fd, 1, 0));
	EXPECT_EQ(-EINVAL, ptd_grant(fd, 1, 4));
	EXPECT_EQ(-ENOENT, ptd_grant(fd, 2, 1));
	EXPECT_EQ(-EALREADY, ptd_recall(fd, 1));
	EXPECT_EQ(-ETIMEDOUT, ptd_remote_info(self->b->fd, 1, 50, &info));
	ASSERT_EQ(0, ptd_grant(fd, 1, P2PBUF_RDMA_RIGHT_READ));
	EXPECT_EQ(-EALREADY, ptd_grant(fd, 1, PTD_BOTH));
	ASSERT_EQ(0, ptd_remote_info(self->b->fd, 1, PTD_MS, &info));
	EXPECT_EQ(P2PBUF_RDMA_RIGHT_READ, info.rights);
	EXPECT_EQ(BUFFER, info.length);
	epoch = info.epoch;
	ASSERT_EQ(0, ptd_recall(fd, 1));
	EXPECT_EQ(-EALREADY, ptd_recall(fd, 1));
	EXPECT_EQ(-EACCES, ptd_remote_info(self->b->fd, 1, PTD_MS, &info));
	ASSERT_EQ(0, ptd_grant(fd, 1, PTD_BOTH));
	ASSERT_EQ(0, ptd_regranted(self->b->fd, 1, &info));
	EXPECT_EQ(PTD_BOTH, info.rights);
	EXPECT_LT(epoch, info.epoch);
	/* Released, the peer's lease comes back too. */
	ASSERT_EQ(0, ptd_release(fd, 1));
	EXPECT_EQ(-EACCES, ptd_remote_info(self->b->fd, 1, PTD_MS, &info));
}

TEST_F(connection, command)
{
	struct p2pbuf_rdma_remote_info info;
	struct p2pbuf_rdma_cmd cmd, good = {
		.local_id = 1, .remote_id = 1, .length = PAGE,
	};
	struct ptd_end *a = self->a, *b = self->b;

#define TRY(_result, _op, ...) do {					\
		cmd = good;						\
		__VA_ARGS__;						\
		EXPECT_EQ(_result, ptd_io(&a->ring, a->fd,		\
					  P2PBUF_RDMA_URING_##_op, &cmd)); \
	} while (0)

	ASSERT_EQ(1, ptd_import(a->fd, self->buffer.dmabuf, 0));
	ASSERT_EQ(1, ptd_import(b->fd, self->buffer.dmabuf, 0));
	ASSERT_EQ(0, ptd_grant(b->fd, 1, P2PBUF_RDMA_RIGHT_READ));
	ASSERT_EQ(0, ptd_remote_info(a->fd, 1, PTD_MS, &info));
	TRY(PAGE, READ, cmd.imm = 0);
	TRY(PAGE, READ, cmd.epoch = info.epoch);
	TRY(PAGE, READ, cmd.flags = P2PBUF_RDMA_FLUSH);
	TRY(-EINVAL, READ, cmd.flags = 2);
	TRY(-EINVAL, READ, cmd.imm = 1);
	TRY(-EINVAL, WRITE, cmd.flags = P2PBUF_RDMA_FLUSH);
	TRY(-EINVAL, WRITE, cmd.imm = 1);
	TRY(-EINVAL, WRITE_IMM, cmd.imm = 1u << 31);
	TRY(-EINVAL, FLUSH, cmd.imm = 0);
	TRY(-EINVAL, RECV, cmd.imm = 0);
	TRY(-ENOENT, READ, cmd.local_id = 0);
	TRY(-ENOENT, READ, cmd.local_id = 2);
	TRY(-ENOENT, READ, cmd.local_id = 65);
	TRY(-ENOENT, READ, cmd.local_id = ~0u);
	TRY(-ENOENT, READ, cmd.remote_id = 0);
	TRY(-ENOENT, READ, cmd.remote_id = ~0u);
	TRY(-EDOM, READ, cmd.length = 0);
	TRY(-EDOM, READ, cmd.length = P2PBUF_RDMA_MAX_LENGTH + 1ull);
	TRY(-EDOM, READ, cmd.length = ~0ull);
	TRY(-ERANGE, READ, cmd.local_offset = BUFFER);
	TRY(-ERANGE, READ, cmd.local_offset = ~0ull);
	TRY(-ERANGE, READ, cmd.remote_offset = BUFFER - 1);
	TRY(-ERANGE, READ, cmd.remote_offset = ~0ull);
	TRY(-ERANGE, READ, cmd.remote_offset = 1ull << 40);
	TRY(-ERANGE, READ, cmd.length = BUFFER + 1);
	TRY(-ESTALE, READ, cmd.epoch = info.epoch + 1);
	TRY(-EACCES, WRITE, cmd.imm = 0);
	/* Nobody has granted it: parked, for as long as wait_ms says. */
	TRY(-ETIMEDOUT, READ, cmd.remote_id = 3);
	/* Nor has any of this done harm. */
	TRY(PAGE, READ, cmd.imm = 0);
#undef TRY
}

TEST_F(connection, sqe)
{
	struct p2pbuf_rdma_cmd cmd = { .length = 1 };
	struct io_uring_sqe *sqe;
	struct io_uring small;
	unsigned int field, slot;

	for (field = 0; field < 6; field++) {
		ptd_prep(&self->a->ring, self->a->fd, field == 5 ?
			 _IO(P2PBUF_RDMA_IOC_MAGIC, 0x85) :
			 P2PBUF_RDMA_URING_READ, &cmd, 0);
		slot = (self->a->ring.sq.sqe_tail - 1) &
		       self->a->ring.sq.ring_mask;
		sqe = &self->a->ring.sq.sqes[slot << 1];
		if (field == 0)
			sqe->addr = 1;
		if (field == 1)
			sqe->len = 1;
		if (field == 2)
			sqe->buf_index = 1;
		if (field == 3)
			sqe->splice_fd_in = 1;
		if (field == 4)
			sqe->uring_cmd_flags = IORING_URING_CMD_FIXED;
		ASSERT_EQ(1, io_uring_submit(&self->a->ring));
		EXPECT_EQ(-EINVAL, ptd_wait(&self->a->ring, NULL))
			TH_LOG("field %u", field);
	}
	/* A small SQE has no room for the command. */
	ASSERT_EQ(0, io_uring_queue_init(4, &small, 0));
	sqe = io_uring_get_sqe(&small);
	ASSERT_NE(NULL, sqe);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = self->a->fd;
	sqe->cmd_op = P2PBUF_RDMA_URING_RECV;
	ASSERT_EQ(1, io_uring_submit(&small));
	EXPECT_EQ(-EINVAL, ptd_wait(&small, NULL));
	io_uring_queue_exit(&small);
}

/* The middle of a buffer, its id 1, and another piece, which is shorter. */
#define EDGE		(64 * 1024ull)
#define MIDDLE		(PTD_MIB - 2 * EDGE)

static int import_pieces(int fd, int dmabuf)
{
	struct p2pbuf_rdma_import middle = {
		.size = sizeof(middle),
		.flags = P2PBUF_RDMA_IMPORT_ALLOW_SYSTEM,
		.dmabuf_fd = dmabuf, .id = 1, .offset = EDGE, .length = MIDDLE,
	}, other = middle;
	int ret = ptd_ioctl(fd, P2PBUF_RDMA_IMPORT, &middle);

	other.id = 2;
	other.offset = 0;
	other.length = PAGE;
	return ret ? ret : ptd_ioctl(fd, P2PBUF_RDMA_IMPORT, &other);
}

static void read_what_changes(struct __test_metadata *_metadata, int fd,
			      struct io_uring *ring, const struct ptn_buffer *to,
			      const struct p2pbuf_rdma_cmd *cmd,
			      struct pt_changer *c)
{
	__u8 *map = to->map, *place = map + EDGE + cmd->local_offset;
	int ret;

	memset(map, PTD_POISON, to->size);
	/* there is one SQE */
	ASSERT_EQ(0, pt_changer_start(c, ring->sq.sqes->cmd));
	while (pt_changer_goes_on(c, 50, 1000)) {
		memset(place, PTD_POISON, PAGE);
		ret = ptd_io(ring, fd, P2PBUF_RDMA_URING_READ, cmd);
		EXPECT_TRUE(ret == (int)PAGE || ret == c->error)
			TH_LOG("%s: %d", c->name, ret);
		EXPECT_EQ(PAGE, ret > 0 ? ptd_check(place, PAGE, c->at) :
			  ptd_check_poison(place, PAGE));
		c->good += ret > 0;
		c->bad += ret <= 0;
	}
	pt_changer_stop(c);
	EXPECT_EQ(place - map, ptd_check_poison(map, place - map));
	place += PAGE;
	EXPECT_EQ(map + to->size - place,
		  ptd_check_poison(place, map + to->size - place));
}

/*
 * A thread of the kernel's reads the SQEs, which change all the time. Each
 * command reads one page of the peer's to where it is told to, or nothing.
 */
TEST_F_TIMEOUT(connection, sqe_changes_while_it_is_read, 120)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_SQPOLL | IORING_SETUP_SQE128,
		.sq_thread_idle = 50,
	};
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = PAGE,
	};
	const int a = self->a->fd, b = self->b->fd;
	const __u64 last = MIDDLE - PAGE;
	__u8 *from = self->buffer.map;
	struct p2pbuf_rdma_remote_info info;
	int ret = -ETIMEDOUT;
	struct ptn_buffer to;
	const char *missed;
	struct io_uring ring;
	unsigned int i;

	ASSERT_EQ(0, ptn_buffer_alloc(&to, PTN_UDMABUF, PTD_MIB));
	ASSERT_EQ(0, import_pieces(a, to.dmabuf));
	ASSERT_EQ(0, import_pieces(b, self->buffer.dmabuf));
	ASSERT_EQ(0, ptd_grant(b, 2, PTD_BOTH));
	ASSERT_EQ(0, ptd_grant(b, 1, PTD_BOTH));
	ASSERT_EQ(0, ptd_remote_info(a, 2, PTD_MS, &info));
	ASSERT_EQ(0, ptd_remote_info(a, 1, PTD_MS, &info));
	/* Its first page, its last; nothing else looks like them. */
	ptd_fill(from, self->buffer.size, 9);
	ptd_fill(from + EDGE, PAGE, 1);
	ptd_fill(from + EDGE + last, PAGE, 2);
#define FIELD(_field, _good, _bad, _error, _seed) {			\
		.name = #_field,					\
		.offset = offsetof(struct p2pbuf_rdma_cmd, _field),	\
		.bytes = sizeof(cmd._field),				\
		.values = { _good, _bad },				\
		.error = _error, .at = _seed,				\
	}
	struct pt_changer fields[] = {
		FIELD(local_id, 1, 2, -ERANGE, 2),
		FIELD(remote_id, 1, 2, -ERANGE, 2),
		FIELD(local_offset, 0, MIDDLE, -ERANGE, 1),
		FIELD(remote_offset, 0, MIDDLE, -ERANGE, 1),
		FIELD(length, PAGE, PAGE | MIDDLE, -ERANGE, 1),
		FIELD(flags, 0, 1u << 31, -EINVAL, 1),
		FIELD(imm, 0, 1u << 31, -EINVAL, 1),
		FIELD(epoch, info.epoch, info.epoch ^ 1ull << 40, -ESTALE, 1),
	};
#undef FIELD
	/* Parked until it is registered, which may take longer than wait_ms. */
	for (i = 0; i < 100 && ret == -ETIMEDOUT; i++)
		ret = ptd_io(&self->a->ring, a, P2PBUF_RDMA_URING_READ, &cmd);
	ASSERT_EQ((int)PAGE, ret);
	ASSERT_EQ(0, io_uring_queue_init_params(1, &ring, &p));
	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		struct p2pbuf_rdma_cmd now = cmd;

		/* What the shorter pieces do not have. */
		if (fields[i].at == 2) {
			now.local_offset = last;
			now.remote_offset = last;
		}
		read_what_changes(_metadata, a, &ring, &to, &now, &fields[i]);
	}
	io_uring_queue_exit(&ring);
	ptn_buffer_free(&to);
	missed = pt_changer_missed(_metadata, fields, ARRAY_SIZE(fields));
	if (missed)
		SKIP(return, "%s did not change at the right moment", missed);
}

/* A read-only descriptor gives no right to write, neither us nor the peer. */
TEST_F(connection, rights)
{
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = 1, .remote_id = 1, .length = PAGE,
	};
	struct drm_p2pbuf_gem_create create;
	int node = ptx_open(0), dmabuf;

	if (node < 0)
		SKIP(return, "no exporter");
	ASSERT_EQ(0, ptx_create(node, BUFFER, P2PBUF_PLACEMENT_SYSTEM, 0,
				&create));
	dmabuf = ptx_export(node, create.handle, false);
	ASSERT_LE(0, dmabuf);
	ASSERT_EQ(1, ptd_import(self->a->fd, dmabuf, 0));
	EXPECT_EQ(-EACCES, ptd_grant(self->a->fd, 1, PTD_BOTH));
	EXPECT_EQ(-EACCES, ptd_grant(self->a->fd, 1, P2PBUF_RDMA_RIGHT_WRITE));
	EXPECT_EQ(-EACCES, ptd_io(&self->a->ring, self->a->fd,
				  P2PBUF_RDMA_URING_READ, &cmd));
	EXPECT_EQ(0, ptd_grant(self->a->fd, 1, P2PBUF_RDMA_RIGHT_READ));
	close(dmabuf);
	close(node);
}

/* The other end is closed: everything that waits ends, nothing new begins. */
TEST_F(connection, peer_leaves)
{
	struct p2pbuf_rdma_cmd none = {}, cmd = {
		.local_id = 1, .remote_id = 1, .length = PAGE,
	};
	struct p2pbuf_rdma_info info;
	struct ptd_end *a = self->a;
	int tries = 0;

	ASSERT_EQ(1, ptd_import(a->fd, self->buffer.dmabuf, 0));
	ASSERT_EQ(0, ptd_grant(a->fd, 1, PTD_BOTH));
	ptd_prep(&a->ring, a->fd, P2PBUF_RDMA_URING_RECV, &none, 0);
	ASSERT_EQ(1, io_uring_submit(&a->ring));
	close(self->b->fd);
	self->b->fd = -1;
	EXPECT_EQ(-ECONNRESET, ptd_wait(&a->ring, NULL));
	do {
		usleep(10000);
		ASSERT_EQ(0, ptd_info(a->fd, &info));
	} while (info.state != P2PBUF_RDMA_DEAD && ++tries < 1000);
	EXPECT_EQ(P2PBUF_RDMA_DEAD, info.state);
	EXPECT_EQ(ECONNRESET, info.error);
	EXPECT_EQ(-ENOTCONN, ptd_io(&a->ring, a->fd, P2PBUF_RDMA_URING_WRITE,
				    &cmd));
	EXPECT_EQ(-ENOTCONN, ptd_import(a->fd, self->buffer.dmabuf, 0));
	EXPECT_EQ(0, ptd_recall(a->fd, 1));
	EXPECT_EQ(0, ptd_release(a->fd, 1));
}

/*
 * The file stays open, by whoever holds it, but nothing is left of the
 * connection: its buffers are free, the peer reaches them no more.
 */
TEST_F(connection, shut_down)
{
	struct p2pbuf_rdma_shutdown arg = { .size = sizeof(arg), .flags = 1 };
	struct p2pbuf_rdma_cmd none = {}, cmd = {
		.local_id = 1, .remote_id = 1, .length = PAGE,
	};
	struct ptd_end *a = self->a, *b = self->b;
	struct p2pbuf_rdma_info info;
	struct p2pbuf_rdma_remote_info remote;
	int copy = dup(a->fd), ret;

	ASSERT_LE(0, copy);
	ASSERT_EQ(1, ptd_import(a->fd, self->buffer.dmabuf, 0));
	ASSERT_EQ(1, ptd_import(b->fd, self->buffer.dmabuf, 0));
	ASSERT_EQ(0, ptd_grant(a->fd, 1, PTD_BOTH));
	ASSERT_EQ(0, ptd_remote_info(b->fd, 1, PTD_MS, &remote));
	ASSERT_EQ(PAGE, ptd_io(&b->ring, b->fd, P2PBUF_RDMA_URING_WRITE, &cmd));
	EXPECT_EQ(-EINVAL, ptd_ioctl(a->fd, P2PBUF_RDMA_SHUTDOWN, &arg));
	ptd_prep(&a->ring, a->fd, P2PBUF_RDMA_URING_RECV, &none, 0);
	ASSERT_EQ(1, io_uring_submit(&a->ring));
	ASSERT_EQ(0, ptd_shutdown(copy));
	EXPECT_EQ(-ECONNRESET, ptd_wait(&a->ring, NULL));
	ret = ptd_io(&b->ring, b->fd, P2PBUF_RDMA_URING_WRITE, &cmd);
	EXPECT_TRUE(ret == -ECONNRESET || ret == -ENOTCONN ||
		    ret == -ETIMEDOUT)
		TH_LOG("%d", ret);
	EXPECT_EQ(ECONNRESET, ptd_outcome(a->fd));
	EXPECT_NE(0, ptd_outcome(b->fd));
	EXPECT_EQ(0, ptd_shutdown(a->fd));
	EXPECT_EQ(-ENOTCONN, ptd_io(&a->ring, a->fd, P2PBUF_RDMA_URING_WRITE,
				    &cmd));
	EXPECT_EQ(-ENOTCONN, ptd_import(a->fd, self->buffer.dmabuf, 0));
	EXPECT_EQ(-EISCONN, ptd_listen(a->fd));
	EXPECT_EQ(0, ptd_release(a->fd, 1));
	ASSERT_EQ(0, ptd_info(a->fd, &info));
	EXPECT_EQ(P2PBUF_RDMA_DEAD, info.state);
	close(copy);
}

static void *wait_for_peer(void *arg)
{
	const struct ptd_pair *pair = arg;
	int fd = ptd_open(), ret;

	ret = ptd_accept(fd, pair->listener, pair->limits);
	close(fd);
	return (void *)(intptr_t)ret;
}

/* Whoever waits at it is told, before or after he came. Its port is free. */
TEST_F(connection, listener_shut_down)
{
	struct p2pbuf_rdma_listen again = {
		.size = sizeof(again), .addr = ptd_address(self->pair.port),
	};
	pthread_t thread;
	void *ret;
	int fd;

	ASSERT_EQ(0, pthread_create(&thread, NULL, wait_for_peer, &self->pair));
	usleep(20000);
	ASSERT_EQ(0, ptd_shutdown(self->pair.listener));
	pthread_join(thread, &ret);
	EXPECT_TRUE((intptr_t)ret == -ENOTCONN || (intptr_t)ret == -EBADFD)
		TH_LOG("%d", (int)(intptr_t)ret);
	fd = ptd_open();
	EXPECT_EQ(0, ptd_ioctl(fd, P2PBUF_RDMA_LISTEN, &again));
	close(fd);
}

/* A ring that is closed takes its parked requests along. */
TEST_F(connection, ring_closed)
{
	struct p2pbuf_rdma_cmd none = {}, cmd = {
		.local_id = 1, .remote_id = 5, .length = PAGE,
	};
	struct p2pbuf_rdma_info info;
	struct io_uring ring;
	int tries = 0;

	ASSERT_EQ(1, ptd_import(self->a->fd, self->buffer.dmabuf, 0));
	ASSERT_EQ(0, ptd_ring(&ring, 8));
	ptd_prep(&ring, self->a->fd, P2PBUF_RDMA_URING_WRITE, &cmd, 0);
	ptd_prep(&ring, self->a->fd, P2PBUF_RDMA_URING_RECV, &none, 0);
	ASSERT_EQ(2, io_uring_submit(&ring));
	ASSERT_EQ(0, ptd_info(self->a->fd, &info));
	EXPECT_EQ(1, info.parked);
	io_uring_queue_exit(&ring);
	do {
		usleep(10000);
		ASSERT_EQ(0, ptd_info(self->a->fd, &info));
	} while (info.parked && ++tries < 1000);
	EXPECT_EQ(0, info.parked);
	EXPECT_EQ(P2PBUF_RDMA_UP, info.state);
}

int main(int argc, char **argv)
{
	return ptd_main(argc, argv);
}
