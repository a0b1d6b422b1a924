/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A peer that speaks to the node by plain verbs, from user space, and says what
 * it likes.
 *
 * It is the test program again, called as `PROGRAM hostile PORT ...`. Verbs
 * take the provider's library, so a copy of it runs in the build root
 * (/ci/toolbox). It is told to go on by bytes on its standard input.
 */
#ifndef P2PBUF_TEST_PEER_H
#define P2PBUF_TEST_PEER_H

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <rdma/rdma_cma.h>
#include <rdma/rdma_verbs.h>

#include "p2pbuf_test_nvme.h"
#include "p2pbuf_test_rdma.h"

#define PTD_PEER_COPY	"/tmp/p2pbuf_peer"

/* ---- what goes over the wire, see Documentation/rdma.rst -------------------- */

#define PTD_WIRE_MAGIC		0x62703270u

enum ptd_wire_type {
	PTD_CREDIT = 1,
	PTD_GRANT,
	PTD_RECALL,
	PTD_RECALL_ACK,
	PTD_WITHDRAW,
};

struct ptd_wire_hello {
	__le32 magic;
	__le16 version;
	__le16 size;
	__le64 reserved;
};

struct ptd_wire_msg {
	__le32 magic;
	__le16 version;
	__le16 type;
	__le32 seq;
	__le32 ack;
	__le32 imm_ack;
	__le32 id;
	__le64 epoch;
	__le64 length;
	__le32 segment;
	__u8 count;
	__u8 shift;
	__u8 rights;
	__u8 flags;
	__le32 keys[4];
} __attribute__((packed));

static inline struct ptd_wire_hello ptd_wire_hello(void)
{
	return (struct ptd_wire_hello){
		.magic = PTD_WIRE_MAGIC,
		.version = 1,
		.size = sizeof(struct ptd_wire_msg),
	};
}

/* ---- one connection --------------------------------------------------------- */

#define PTD_PEER_RECEIVES	48

/**
 * struct ptd_peer - its end of a connection
 * @id: of librdmacm
 * @connected: it is
 * @mr: of the memory below
 * @rx: what was received
 * @tx: what is sent
 * @received: messages
 * @seq: of the last message sent
 * @grant: the first GRANT that came
 */
struct ptd_peer {
	struct rdma_cm_id *id;
	bool connected;
	struct ibv_mr *mr;
	struct {
		char rx[PTD_PEER_RECEIVES][128];
		char tx[4096];
	} *memory;
	int received;
	__u32 seq;
	struct ptd_wire_msg grant;
};

/* librdmacm does not promise to set it. */
static inline int ptd_peer_errno(void)
{
	return errno > 0 ? -errno : -EIO;
}

static inline int ptd_peer_connect(struct ptd_peer *p, const char *port,
				   const struct ptd_wire_hello *hello)
{
	struct rdma_addrinfo hints = { .ai_port_space = RDMA_PS_TCP }, *res;
	struct ibv_qp_init_attr attr = {
		.cap = { 64, PTD_PEER_RECEIVES, 1, 1, 0 },
		.sq_sig_all = 1,
	};
	struct rdma_conn_param param = {
		.private_data = hello,
		.private_data_len = sizeof(*hello),
		.responder_resources = 4,
		.initiator_depth = 4,
		.retry_count = 7,
		.rnr_retry_count = 7,
	};
	int i;

	memset(p, 0, sizeof(*p));
	if (rdma_getaddrinfo(PTD_ADDRESS, port, &hints, &res))
		return ptd_peer_errno();
	if (rdma_create_ep(&p->id, res, NULL, &attr))
		return ptd_peer_errno();
	rdma_freeaddrinfo(res);
	if (!p->id)
		return -EINVAL;
	p->memory = ptn_memory(sizeof(*p->memory));
	p->mr = rdma_reg_msgs(p->id, p->memory, sizeof(*p->memory));
	if (!p->mr)
		return -ENOMEM;
	for (i = 0; i < PTD_PEER_RECEIVES; i++)
		if (rdma_post_recv(p->id, NULL, p->memory->rx[i], 128, p->mr))
			return ptd_peer_errno();
	if (rdma_connect(p->id, &param))
		return ptd_peer_errno();
	p->connected = true;
	return 0;
}

static inline void ptd_peer_close(struct ptd_peer *p)
{
	struct ibv_mr *mr = p->mr;

	/* One that was refused would wait for ever to be told of its end. */
	if (p->connected)
		rdma_disconnect(p->id);
	if (mr)
		rdma_dereg_mr(mr);
	if (p->id)
		rdma_destroy_ep(p->id);
	if (p->memory)
		munmap(p->memory, sizeof(*p->memory));
}

/* The next message; a completion that failed is the end. */
static inline int ptd_peer_receive(struct ptd_peer *p, struct ptd_wire_msg *m)
{
	struct ibv_wc wc;

	if (!p->id || rdma_get_recv_comp(p->id, &wc) <= 0 || wc.status)
		return -ECONNRESET;
	memcpy(m, p->memory->rx[p->received++ % PTD_PEER_RECEIVES], sizeof(*m));
	return 0;
}

/*
 * 0 when it has arrived. A connection that is dead does not answer, and to
 * find that out by itself takes the transport too long.
 */
static inline int ptd_peer_post(struct ptd_peer *p, struct ibv_send_wr *wr)
{
	struct ibv_send_wr *bad;
	struct ibv_wc wc;
	int tries, n;

	if (!p->id || ibv_post_send(p->id->qp, wr, &bad))
		return -EIO;
	for (tries = 0; tries < 300 * ptk_slow(); tries++) {
		n = ibv_poll_cq(p->id->send_cq, 1, &wc);
		if (n)
			return n < 0 || wc.status ? -ECONNRESET : 0;
		usleep(1000);
	}
	return -ETIMEDOUT;
}

static inline int ptd_peer_send(struct ptd_peer *p,
				const struct ptd_wire_msg *m, __u32 bytes)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)p->memory->tx,
		.length = bytes == 0xffff ? 0 : bytes ? bytes : sizeof(*m),
		.lkey = p->mr->lkey,
	};
	struct ibv_send_wr wr = {
		.sg_list = &sge, .num_sge = 1, .opcode = IBV_WR_SEND,
		.send_flags = IBV_SEND_SIGNALED,
	};

	memset(p->memory->tx, 0, sizeof(p->memory->tx));
	memcpy(p->memory->tx, m, sizeof(*m));
	return ptd_peer_post(p, &wr);
}

/* A message that may be said, with the next number. */
static inline struct ptd_wire_msg ptd_peer_message(struct ptd_peer *p, int type)
{
	struct ptd_wire_msg m = {
		.magic = PTD_WIRE_MAGIC, .version = 1, .type = type, .seq = ++p->seq,
		.ack = p->received,
	};

	if (type == PTD_CREDIT)
		return m;
	m.id = 1;
	m.epoch = type == PTD_RECALL_ACK ? p->grant.epoch : 5;
	if (type != PTD_GRANT)
		return m;
	m.length = 4096;
	m.count = 1;
	m.shift = 21;
	m.rights = 3;
	m.keys[0] = 0x12345678;
	return m;
}

/* The parent has seen what it wanted to see. */
static inline bool ptd_peer_wait(void)
{
	char byte;

	return read(0, &byte, 1) == 1;
}

/* ---- as the test handles it ------------------------------------------------- */

/**
 * struct ptd_hostile - the program of the peer
 * @pipe: its standard input
 * @pid: 0 when it does not run
 */
struct ptd_hostile {
	int pipe;
	pid_t pid;
};

/* Before the harness forks: whatever the peer needs. */
static inline void ptd_hostile_prepare(const char *program)
{
	if (!access(PTD_NODE, F_OK) &&
	    ptk_run("modprobe rdma_ucm && cp %s " PTD_PEER_COPY, program))
		fprintf(stderr, "# no hostile peer\n");
}

/* @parts: what it is to do, separated by blanks. */
static inline bool ptd_hostile_start(struct ptd_hostile *h, int port,
				     const char *parts)
{
	char command[4096];
	int pipes[2];

	if (pipe(pipes))
		return false;
	h->pipe = pipes[1];
	snprintf(command, sizeof(command),
		 "exec /ci/toolbox " PTD_PEER_COPY " hostile %d %s", port,
		 parts);
	h->pid = fork();
	if (!h->pid) {
		dup2(pipes[0], 0);
		close(pipes[1]);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	close(pipes[0]);
	return h->pid > 0;
}

/* One more byte: it may go on. */
static inline bool ptd_hostile_go(struct ptd_hostile *h)
{
	return write(h->pipe, "", 1) == 1;
}

/* It has done all its parts and found nothing wrong with them. */
static inline bool ptd_hostile_ended(struct ptd_hostile *h)
{
	int status = -1;

	close(h->pipe);
	waitpid(h->pid, &status, 0);
	h->pid = 0;
	if (status)
		fprintf(stderr, "# the hostile peer ended with %x\n", status);
	return !status;
}

static inline void ptd_hostile_kill(struct ptd_hostile *h)
{
	if (h->pid <= 0)
		return;
	kill(h->pid, SIGKILL);
	waitpid(h->pid, NULL, 0);
	h->pid = 0;
}

#endif /* P2PBUF_TEST_PEER_H */
