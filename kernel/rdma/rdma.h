/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of p2pbuf_rdma.ko share.
 *
 * Objects, outside in:
 *
 *	conn		one open /dev/p2pbuf-rdma: a connection or a listener
 *	  buffer	a range of a dma-buf, imported: attachment and segments
 *	    segment	one fast registration
 *	  remote	what the peer granted under one id
 *	  req		one command on its way, in pieces
 *
 * Who keeps what
 *
 *	The open file owns the conn, the conn all the rest. A registered buffer
 *	holds the active reference of its mapping, from before its first REG
 *	until after its last LOCAL_INV; pieces of requests are counted and keep
 *	it registered. A req belongs to io_uring's command: it is freed in task
 *	work, with the command.
 *
 * Lock order:
 *
 *	conn->lock			ioctls, teardown
 *	    device_lock of the RDMA device's parent: only tried
 *	    handler lock of an rdma_cm id
 *	    (the core's locks, the resv among them)
 *		conn->io_lock		everything that happens by itself
 *		    (the driver's queue locks)
 *
 *	io_lock is a spinlock that no interrupt takes: completions come on a
 *	workqueue. It is on the way to fences, so nothing allocates under it,
 *	and listener and connection never hold two of them.
 *
 * What the fence of a mapping waits for, see buffer.c: the peer, bounded by
 * recall_ms; our own pieces, bounded by a multiple of it; the management queue
 * pair, which no peer can stall. Pieces that no fence waits for are bounded by
 * wait_ms, see io.c: the peer may have chosen a transport that never gives up.
 */
#ifndef P2PBUF_RDMA_PRIVATE_H
#define P2PBUF_RDMA_PRIVATE_H

#include <linux/io_uring/cmd.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/scatterlist.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <rdma/ib_verbs.h>
#include <rdma/rdma_cm.h>
#include <linux/p2pbuf_rdma.h>
#include "p2pbuf_compat.h"
#include "p2pbuf_core.h"
#include "wire.h"

#define RDMA_IDS		(P2PBUF_RDMA_MAX_BUFFERS + 1)	/* 0 is none */
#define RDMA_RECALL_MS		500
#define RDMA_WAIT_MS		10000
#define RDMA_DRAIN_LIMITS	4	/* recall_ms, after that of the recall */
#define RDMA_STALL_MS		5000	/* the least that pieces are given */
#define RDMA_BACKLOG		16	/* requests nobody has accepted yet */
#define RDMA_SQ_PIECES		128	/* pieces under way */
#define RDMA_PIECE_BYTES	SZ_1M	/* of one piece at most */
/*
 * Bytes under way at most. They have to arrive before a lease can be given
 * back, in time, over a slow link as well.
 */
#define RDMA_SQ_BYTES		SZ_4M
#define RDMA_MGMT_DEPTH		64	/* REG and LOCAL_INV under way */
#define RDMA_RX			(P2PBUF_RDMA_WINDOW + P2PBUF_RDMA_IMM_WINDOW)
#define RDMA_SEGMENT_SHIFT_MAX	24
#define RDMA_RIGHTS		(P2PBUF_RDMA_RIGHT_READ | \
				 P2PBUF_RDMA_RIGHT_WRITE)

extern struct workqueue_struct *p2pbuf_rdma_wq;
extern struct workqueue_struct *p2pbuf_rdma_map_wq;

/**
 * enum p2pbuf_rdma_lease - what the peer's buffer is to us
 * @RDMA_REMOTE_NONE: not granted, or given back: requests wait for it
 * @RDMA_REMOTE_PARTIAL: some of its keys have come
 * @RDMA_REMOTE_GRANTED: it may be used
 * @RDMA_REMOTE_RECALLED: no new pieces; given back when the last one ends
 * @RDMA_REMOTE_GONE: withdrawn: requests fail
 */
enum p2pbuf_rdma_lease {
	RDMA_REMOTE_NONE,
	RDMA_REMOTE_PARTIAL,
	RDMA_REMOTE_GRANTED,
	RDMA_REMOTE_RECALLED,
	RDMA_REMOTE_GONE,
};

/**
 * struct p2pbuf_rdma_remote - a buffer of the peer; under io_lock
 * @state: one of &enum p2pbuf_rdma_lease
 * @for_good: the recall said so
 * @rights: P2PBUF_RDMA_RIGHT_* bits
 * @shift: log2 of bytes per key
 * @have: keys that have come
 * @inflight: pieces under way
 * @length: bytes
 * @epoch: of the grant
 * @keys: P2PBUF_RDMA_MAX_SEGMENTS of them
 */
struct p2pbuf_rdma_remote {
	enum p2pbuf_rdma_lease state;
	bool for_good;
	u8 rights;
	u8 shift;
	u32 have;
	u32 inflight;
	u64 length;
	u64 epoch;
	u32 *keys;
};

/**
 * enum p2pbuf_rdma_phase - registration of a buffer
 * @RDMA_UNMAPPED: none; there may be a mapping, nobody uses it
 * @RDMA_MAPPING: being registered
 * @RDMA_VALID: registered; leased to the peer if granted
 * @RDMA_RECALLING: the mapping has ended, the peer was asked for the lease
 * @RDMA_DRAINING: our own pieces are still under way
 * @RDMA_INVALIDATING: being invalidated
 */
enum p2pbuf_rdma_phase {
	RDMA_UNMAPPED,
	RDMA_MAPPING,
	RDMA_VALID,
	RDMA_RECALLING,
	RDMA_DRAINING,
	RDMA_INVALIDATING,
};

#define RDMA_SAY_GRANT		BIT(0)
#define RDMA_SAY_RECALL		BIT(1)

struct p2pbuf_rdma_conn;

/**
 * struct p2pbuf_rdma_buffer - an imported range of a dma-buf
 * @conn: its connection
 * @att: the attachment
 * @id: on the connection
 * @rights: what the import allows
 * @offset: in the dma-buf
 * @length: bytes
 * @shift: log2 of bytes per segment
 * @nr: segments
 * @mrs: a registration for each segment; their page lists are written by
 *	fill(), when none of them is valid
 * @sg: room for the addresses of one segment, for fill()
 * @map_work: makes the next mapping and begins to register it
 * @cqe: of all management work requests of this buffer
 * @mgmt_node: on conn->mgmt while there are more to post
 * @withdrawing: RECALL was interrupted, and is to go on; under conn->lock
 * @phase: one of &enum p2pbuf_rdma_phase; this and all below under io_lock
 * @mapping: its active reference is ours in all phases but RDMA_UNMAPPED
 * @granted: rights that the peer is to have
 * @access: of the registration, IB_ACCESS_* bits
 * @leased: the peer has a key of the registration
 * @granting: GRANT ends the registration, and the next one waits for it
 * @dying: being released: no new requests, no new mapping
 * @mapping_wanted: map_work is due or under way
 * @say: RDMA_SAY_* bits, what the peer has to be told
 * @said: keys that were sent
 * @valid: segments that are registered
 * @posted: management work requests of this phase that were posted
 * @pending: those that have not completed
 * @inflight: pieces that use the registration
 * @epoch: of the registration
 * @deadline: jiffies at which the lease must be back
 */
struct p2pbuf_rdma_buffer {
	struct p2pbuf_rdma_conn *conn;
	struct p2pbuf_attachment *att;
	u32 id;
	u32 rights;
	u64 offset;
	u64 length;
	u32 shift;
	u32 nr;
	struct ib_mr **mrs;
	struct scatterlist *sg;
	struct work_struct map_work;
	struct ib_cqe cqe;
	struct list_head mgmt_node;
	bool withdrawing;

	enum p2pbuf_rdma_phase phase;
	struct p2pbuf_mapping *mapping;
	u32 granted;
	int access;
	bool leased;
	bool granting;
	bool dying;
	bool mapping_wanted;
	u32 say;
	u32 said;
	u32 valid;
	u32 posted;
	u32 pending;
	u32 inflight;
	u64 epoch;
	unsigned long deadline;
};

/* Counters, under io_lock; see &struct p2pbuf_rdma_info. */
struct p2pbuf_rdma_counters {
	u64 reads;
	u64 writes;
	u64 bytes;
	u64 errors;
	u64 parkings;
	u64 grants_sent;
	u64 grants_received;
	u64 recalls_sent;
	u64 recalls_received;
	u64 revocations;
	u64 registrations;
	u64 invalidations;
	u64 messages_sent;
	u64 messages_received;
};

/**
 * struct p2pbuf_rdma_channel - control messages, see wire.c; under io_lock
 * @tx: P2PBUF_RDMA_WINDOW messages, slot by sequence number
 * @rx: RDMA_RX messages
 * @tx_dma: address of @tx for the device
 * @rx_dma: of @rx
 * @tx_cqe: of each slot
 * @rx_cqe: likewise
 * @tx_busy: slots whose send has not completed
 * @say_ack: remotes whose recall has to be acknowledged
 * @say_buffer: buffers with something in @say
 * @say_withdraw: grants that have ended, of buffers that may be gone
 * @tx_seq: of the last message sent
 * @tx_acked: of the last one the peer has seen
 * @rx_seq: of the last message seen
 * @rx_told: the same, as the peer was told
 * @imm_sent: writes with immediate data posted
 * @imm_acked: how many of them the peer's user has taken
 * @imm_seen: immediate data that has come
 * @imm_taken: that our user has taken
 * @imm_told: the same, as the peer was told
 * @imm: what has come and was not taken
 */
struct p2pbuf_rdma_channel {
	struct p2pbuf_rdma_msg *tx;
	struct p2pbuf_rdma_msg *rx;
	u64 tx_dma;
	u64 rx_dma;
	struct ib_cqe tx_cqe[P2PBUF_RDMA_WINDOW];
	struct ib_cqe rx_cqe[RDMA_RX];
	DECLARE_BITMAP(tx_busy, P2PBUF_RDMA_WINDOW);
	DECLARE_BITMAP(say_ack, RDMA_IDS);
	DECLARE_BITMAP(say_buffer, RDMA_IDS);
	DECLARE_BITMAP(say_withdraw, RDMA_IDS);
	u32 tx_seq;
	u32 tx_acked;
	u32 rx_seq;
	u32 rx_told;
	u32 imm_sent;
	u32 imm_acked;
	u32 imm_seen;
	u32 imm_taken;
	u32 imm_told;
	u32 imm[P2PBUF_RDMA_IMM_WINDOW];
};

/**
 * struct p2pbuf_rdma_conn - one open file
 * @lock: serialises ioctls and teardown
 * @io_lock: see above
 * @wait: for changes of @state, @cm_event, remotes and @pending
 * @id: of rdma_cm, NULL before and after; changed under @lock
 * @dev: RDMA device, valid with @qp
 * @pd: protection domain, of this connection alone
 * @cq: completions of @qp
 * @mgmt_cq: of @mgmt_qp
 * @qp: connected to the peer's
 * @mgmt_qp: registers and invalidates; sends nothing
 * @segment_shift: log2 of the bytes of one registration at most
 * @limits: time limits, defaults filled in
 * @kill_work: ends the connection
 * @removal_work: lets go of an RDMA device that goes away
 * @expire_work: ends requests that were parked for too long, and a connection
 *	on which no piece ends
 * @state: one of &enum p2pbuf_rdma_state; this and all below under @io_lock
 * @error: why it ended, positive
 * @connected: it is up: the queues have to be drained, and the peer has to be
 *	told, when it ends
 * @drained: it has ended and nothing of it is under way
 * @cm_event: last event of rdma_cm that CONNECT or ACCEPT waits for
 * @cm_status: its status
 * @hello_ok: the peer's hello was right
 * @pending: of a listener: requests to be accepted
 * @nr_pending: how many
 * @buffers: by id
 * @epochs: last epoch of each id, so that no number comes twice
 * @hoped: ids of ours that the peer was granted, and not told that it is over
 * @remotes: by id
 * @keys: memory of all remotes' keys
 * @mgmt: buffers with work requests to post
 * @mgmt_free: work requests @mgmt_qp has room for
 * @sq_begun: pieces posted
 * @sq_ended: pieces that have ended
 * @sq_lengths: of those between the two
 * @sq_bytes: bytes of the pieces under way
 * @last_done: jiffies at which the last piece ended, or at which one was posted
 *	when none was under way
 * @ready: requests that wait for room only
 * @parked: requests that wait for a buffer, a grant, or a credit
 * @receivers: RECV commands
 * @requests: all commands, from submission until they complete
 * @channel: control messages
 * @flush_byte: where the byte of a FLUSH goes
 * @flush_dma: its address for the device
 * @counters: what INFO shows
 * @node: on the list that debugfs shows
 */
struct p2pbuf_rdma_conn {
	/* Serialises ioctls and teardown; outside of everything. */
	struct mutex lock;
	/* Guards what happens by itself; innermost but for the driver's. */
	spinlock_t io_lock;
	wait_queue_head_t wait;
	struct rdma_cm_id *id;
	struct ib_device *dev;
	struct ib_pd *pd;
	struct ib_cq *cq;
	struct ib_cq *mgmt_cq;
	struct ib_qp *qp;
	struct ib_qp *mgmt_qp;
	u32 segment_shift;
	struct p2pbuf_rdma_limits limits;
	struct work_struct kill_work;
	struct work_struct removal_work;
	struct delayed_work expire_work;

	enum p2pbuf_rdma_state state;
	int error;
	bool connected;
	bool drained;
	int cm_event;
	int cm_status;
	bool hello_ok;
	struct list_head pending;
	u32 nr_pending;
	struct p2pbuf_rdma_buffer *buffers[RDMA_IDS];
	u64 epochs[RDMA_IDS];
	DECLARE_BITMAP(hoped, RDMA_IDS);
	struct p2pbuf_rdma_remote remotes[RDMA_IDS];
	u32 *keys;
	struct list_head mgmt;
	u32 mgmt_free;
	u32 sq_begun;
	u32 sq_ended;
	u32 sq_lengths[RDMA_SQ_PIECES];
	u32 sq_bytes;
	unsigned long last_done;
	struct list_head ready;
	struct list_head parked;
	struct list_head receivers;
	struct list_head requests;
	struct p2pbuf_rdma_channel channel;
	void *flush_byte;
	u64 flush_dma;
	struct p2pbuf_rdma_counters counters;
	struct list_head node;
};

/* The RDMA address of a byte: no address of this machine is in it. */
static inline u64 p2pbuf_rdma_iova(u32 id, u64 offset)
{
	return (u64)id << P2PBUF_RDMA_IOVA_SHIFT | offset;
}

static inline bool p2pbuf_rdma_id_ok(u32 id)
{
	return id >= 1 && id <= P2PBUF_RDMA_MAX_BUFFERS;
}

/* connection.c */
struct p2pbuf_rdma_conn *p2pbuf_rdma_conn_create(void);
void p2pbuf_rdma_conn_destroy(struct p2pbuf_rdma_conn *conn);
void p2pbuf_rdma_conn_kill(struct p2pbuf_rdma_conn *conn, int error);
void p2pbuf_rdma_conn_teardown(struct p2pbuf_rdma_conn *conn);
int p2pbuf_rdma_conn_shutdown(struct p2pbuf_rdma_conn *conn);
int p2pbuf_rdma_conn_connect(struct p2pbuf_rdma_conn *conn,
			     struct p2pbuf_rdma_connect *arg);
int p2pbuf_rdma_conn_adopt(struct p2pbuf_rdma_conn *conn,
			   struct rdma_cm_id *id, u32 timeout_ms);
int p2pbuf_rdma_conn_error(const struct p2pbuf_rdma_conn *conn);
int p2pbuf_rdma_conn_event(struct rdma_cm_id *id, struct rdma_cm_event *ev);
int p2pbuf_rdma_sockaddr(const struct p2pbuf_rdma_addr *addr,
			 struct sockaddr_storage *out);
void p2pbuf_rdma_set_limits(struct p2pbuf_rdma_conn *conn,
			    const struct p2pbuf_rdma_limits *limits);
bool p2pbuf_rdma_hello_ok(const void *data, u8 length);

/*
 * What a wait until @deadline returns that was interrupted. User space hears of
 * a signal; but not of io_uring's task work, which interrupts as well and is
 * nobody's business. The ioctl is begun anew then, see file.c, with what is
 * left of its time in @timeout_ms: all of it again might never be over.
 */
static inline int p2pbuf_rdma_interrupted(unsigned long deadline,
					  u32 *timeout_ms)
{
	if (task_sigpending(current))
		return -EINTR;
	*timeout_ms = jiffies_to_msecs(max_t(long, deadline - jiffies, 0));
	return -ERESTARTSYS;
}

/* listen.c */
int p2pbuf_rdma_listen_start(struct p2pbuf_rdma_conn *conn,
			     struct p2pbuf_rdma_listen *arg);
int p2pbuf_rdma_listen_accept(struct p2pbuf_rdma_conn *listener,
			      struct p2pbuf_rdma_conn *conn,
			      struct p2pbuf_rdma_accept *arg);
void p2pbuf_rdma_listen_undo(struct p2pbuf_rdma_conn *conn);
void p2pbuf_rdma_listen_stop(struct p2pbuf_rdma_conn *conn);

/* queue.c */
int p2pbuf_rdma_queue_setup(struct p2pbuf_rdma_conn *conn);
int p2pbuf_rdma_queue_start_mgmt(struct p2pbuf_rdma_conn *conn);
void p2pbuf_rdma_queue_drain(struct p2pbuf_rdma_conn *conn);
void p2pbuf_rdma_queue_destroy(struct p2pbuf_rdma_conn *conn);
bool p2pbuf_rdma_failed(struct p2pbuf_rdma_conn *conn, const struct ib_wc *wc);
int p2pbuf_rdma_wc_errno(const struct ib_wc *wc);

/* wire.c */
void p2pbuf_rdma_wire_init(struct p2pbuf_rdma_conn *conn);
int p2pbuf_rdma_wire_start(struct p2pbuf_rdma_conn *conn);
void p2pbuf_rdma_wire_pump(struct p2pbuf_rdma_conn *conn);

/* remote.c */
bool p2pbuf_rdma_remote_message(struct p2pbuf_rdma_conn *conn,
				const struct p2pbuf_rdma_msg *msg);
void p2pbuf_rdma_remote_ack(struct p2pbuf_rdma_conn *conn, u32 id);
void p2pbuf_rdma_remote_said_ack(struct p2pbuf_rdma_conn *conn, u32 id,
				 struct p2pbuf_rdma_msg *msg);
int p2pbuf_rdma_remote_info(struct p2pbuf_rdma_conn *conn,
			    struct p2pbuf_rdma_remote_info *info);

/* buffer.c */
int p2pbuf_rdma_buffer_import(struct p2pbuf_rdma_conn *conn,
			      struct p2pbuf_rdma_import *arg,
			      struct p2pbuf_rdma_buffer **out);
void p2pbuf_rdma_buffer_destroy(struct p2pbuf_rdma_buffer *b);
void p2pbuf_rdma_buffer_revoke(struct p2pbuf_rdma_buffer *b);
int p2pbuf_rdma_buffer_grant(struct p2pbuf_rdma_buffer *b, u32 rights);
int p2pbuf_rdma_buffer_recall(struct p2pbuf_rdma_buffer *b);
void p2pbuf_rdma_buffer_want(struct p2pbuf_rdma_buffer *b);
bool p2pbuf_rdma_buffer_say(struct p2pbuf_rdma_buffer *b,
			    struct p2pbuf_rdma_msg *msg);
void p2pbuf_rdma_buffer_said_withdraw(struct p2pbuf_rdma_conn *conn, u32 id,
				      struct p2pbuf_rdma_msg *msg);
bool p2pbuf_rdma_buffer_acked(struct p2pbuf_rdma_conn *conn, u32 id,
			      u64 epoch);
void p2pbuf_rdma_buffer_info(struct p2pbuf_rdma_buffer *b,
			     struct p2pbuf_rdma_buffer_info *info);

/* segment.c */
int p2pbuf_rdma_segments_alloc(struct p2pbuf_rdma_buffer *b);
void p2pbuf_rdma_segments_free(struct p2pbuf_rdma_buffer *b);
int p2pbuf_rdma_segments_fill(struct p2pbuf_rdma_buffer *b,
			      struct sg_table *sgt);
void p2pbuf_rdma_segments_post(struct p2pbuf_rdma_conn *conn);

/* Bytes of a segment; only the last one may be short. */
static inline u32 p2pbuf_rdma_segment_bytes(const struct p2pbuf_rdma_buffer *b,
					    u32 segment)
{
	u64 start = (u64)segment << b->shift;

	return min_t(u64, BIT_ULL(b->shift), b->length - start);
}

/* io.c */
int p2pbuf_rdma_uring_cmd(struct io_uring_cmd *ioucmd,
			  unsigned int issue_flags);
void p2pbuf_rdma_io_pump(struct p2pbuf_rdma_conn *conn);
void p2pbuf_rdma_io_unpark(struct p2pbuf_rdma_conn *conn);
void p2pbuf_rdma_io_fail_local(struct p2pbuf_rdma_conn *conn, u32 id,
			       int error);
void p2pbuf_rdma_io_fail_all(struct p2pbuf_rdma_conn *conn, int error);
void p2pbuf_rdma_io_imm(struct p2pbuf_rdma_conn *conn);
void p2pbuf_rdma_io_expire(struct work_struct *work);
int p2pbuf_rdma_io_cancel(struct p2pbuf_rdma_conn *conn, u64 user_data);

/* file.c */
extern const struct file_operations p2pbuf_rdma_fops;

/* report.c */
void p2pbuf_rdma_report_init(void);
void p2pbuf_rdma_report_exit(void);
void p2pbuf_rdma_report_add(struct p2pbuf_rdma_conn *conn);
void p2pbuf_rdma_report_del(struct p2pbuf_rdma_conn *conn);
void p2pbuf_rdma_report_refusal(int err, u32 reason);
void p2pbuf_rdma_conn_info(struct p2pbuf_rdma_conn *conn,
			   struct p2pbuf_rdma_info *info);

#endif /* P2PBUF_RDMA_PRIVATE_H */
