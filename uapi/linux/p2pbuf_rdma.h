/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) */
/*
 * /dev/p2pbuf-rdma: RDMA between dma-bufs of two machines.
 *
 * One open file is one connection, or one listener. A side imports buffers
 * into its connection and grants them, with rights, to its peer; the peer
 * reads and writes what it was granted. Exporters on both sides may move their
 * memory at any time: grants are leases, which are recalled before a move and
 * given anew after it. A request that meets a buffer in between is parked and
 * goes on by itself; user space sees nothing of it.
 *
 * I/O is an IORING_OP_URING_CMD on the open file with a 128-byte SQE
 * (IORING_SETUP_SQE128, or IORING_OP_URING_CMD128 on a mixed ring):
 *
 *	sqe->fd		the open /dev/p2pbuf-rdma (a fixed file works too)
 *	sqe->cmd_op	P2PBUF_RDMA_URING_*
 *	sqe->cmd	struct p2pbuf_rdma_cmd
 *
 * cqe->res is the byte count, always the whole length, or -errno. Requests are
 * not ordered against each other.
 *
 * Errors, one cause each. ioctls and commands alike:
 *
 *	EINVAL		malformed: short struct, unknown flag, command, SQE
 *			field or non-zero reserved field; a small SQE
 *	E2BIG		a longer struct has non-zero bytes this kernel does
 *			not know
 *	EFAULT		user memory cannot be accessed; or a mapped address
 *			leads nowhere (then reason is set)
 *	ENOMEM		out of memory, nothing was changed (but see CONNECT)
 *	EINTR		interrupted before anything was changed (but see RECALL
 *			and SHUTDOWN)
 *	ENOTCONN	no connection yet, or it has ended
 *	ENODEV		the RDMA device has gone away
 *
 * P2PBUF_RDMA_LISTEN, P2PBUF_RDMA_ACCEPT, P2PBUF_RDMA_CONNECT:
 *
 *	EISCONN		the file is a connection or a listener already
 *	EAFNOSUPPORT	neither an IPv4 nor an IPv6 address
 *	EBADF		listen_fd is not open
 *	EBADFD		listen_fd is not a listener of this node
 *	EOPNOTSUPP	the RDMA device has no fast registration, or is iWARP
 *	ETIMEDOUT	nobody answered, or nobody came
 *	ECONNREFUSED	nobody listens there, or the listener is full, or does
 *			not speak this version of the protocol
 *	ECONNABORTED	the connection ended while it was being made
 *	EPROTO		who answered does not speak this version of the protocol
 *	other		what rdma_cm said of the address (EADDRINUSE,
 *			EADDRNOTAVAIL, EACCES, ENODEV), and the network of
 *			memory that it did not get (ENOBUFS, ENFILE)
 *
 * A file whose CONNECT has begun and failed is dead, and so is one whose
 * ACCEPT has taken a request and failed: the next try takes another file.
 *
 * P2PBUF_RDMA_IMPORT:
 *
 *	EBADF		dmabuf_fd is not open
 *	EBADFD		dmabuf_fd is not a dma-buf
 *	EDOM		offset or length not a multiple of 4096
 *	ERANGE		the range lies outside the buffer, or no such id
 *	EFBIG		the range needs more than P2PBUF_RDMA_MAX_SEGMENTS
 *			registrations
 *	EEXIST		the id is in use
 *	EMFILE		all ids are in use
 *	EOPNOTSUPP	I/O memory without pages, on an RDMA device that
 *			copies with the CPU
 *	EREMOTEIO	the buffer lies in host memory and
 *			P2PBUF_RDMA_IMPORT_ALLOW_SYSTEM is not set
 *	EHOSTUNREACH	the device has no route to the exporter's BAR
 *	EHOSTDOWN	the exporter's BAR does not decode
 *	EADDRNOTAVAIL	the mapping needs bounce buffers
 *	ENODATA		nobody can tell where the DMA addresses lead
 *	other		the exporter's own error from attaching or mapping
 *			(EAGAIN from mapping is EBUSY)
 *
 * P2PBUF_RDMA_GRANT, P2PBUF_RDMA_RECALL, P2PBUF_RDMA_RELEASE,
 * P2PBUF_RDMA_BUFFER_INFO, P2PBUF_RDMA_REMOTE_INFO:
 *
 *	ENOENT		no buffer of that id
 *	EACCES		rights that the import does not have
 *	EALREADY	granted already, or not granted
 *	ETIMEDOUT	nothing was granted under that id in time
 *
 * P2PBUF_RDMA_CANCEL:
 *
 *	ENOENT		no request of that user_data is under way
 *	EALREADY	all of it was posted, so it completes by itself
 *
 * I/O:
 *
 *	ENOENT		no imported buffer of the local id
 *	EDOM		length 0, or more than P2PBUF_RDMA_MAX_LENGTH
 *	ERANGE		outside the local range or what was granted
 *	EACCES		a right is missing, the grant was withdrawn, or the
 *			peer's device refused access
 *	ESTALE		the epoch is not the grant's
 *	ETIMEDOUT	parked for longer than wait_ms, or under way and the
 *			peer's device did not answer; see wait_ms
 *	ECONNRESET	the connection ended while the request was under way
 *	ECANCELED	P2PBUF_RDMA_CANCEL, or the ring was closed, before all
 *			of the request was posted
 *	EREMOTEIO	any other failure of the peer's device
 *	EIO		any other failure of this side's device
 *	the path errors of IMPORT, when the exporter moved the buffer to where
 *	the device cannot reach it; and the exporter's own error from mapping
 *	it anew
 *
 * After an I/O error the bytes of the request's range are undefined on the
 * receiving side; nothing outside it is touched. No part of a request is
 * issued twice.
 */
#ifndef _UAPI_LINUX_P2PBUF_RDMA_H
#define _UAPI_LINUX_P2PBUF_RDMA_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/p2pbuf_path.h>

#define P2PBUF_RDMA_IOC_MAGIC	0xBF

/** P2PBUF_RDMA_MAX_BUFFERS: ids go from 1 to this, on each side */
#define P2PBUF_RDMA_MAX_BUFFERS		64
/** P2PBUF_RDMA_MAX_SEGMENTS: registrations one buffer may need */
#define P2PBUF_RDMA_MAX_SEGMENTS	4096
/** P2PBUF_RDMA_MAX_LENGTH: bytes of one request */
#define P2PBUF_RDMA_MAX_LENGTH		(1U << 30)
/** P2PBUF_RDMA_MAX_RECALL_MS: others wait for a move as long, so not for ever */
#define P2PBUF_RDMA_MAX_RECALL_MS	60000
/** P2PBUF_RDMA_IMM_BITS: bits of immediate data that a receiver gets */
#define P2PBUF_RDMA_IMM_BITS		31

/** P2PBUF_RDMA_RIGHT_READ: bytes may be read from the buffer */
#define P2PBUF_RDMA_RIGHT_READ		(1U << 0)
/** P2PBUF_RDMA_RIGHT_WRITE: bytes may be written to the buffer */
#define P2PBUF_RDMA_RIGHT_WRITE		(1U << 1)

/**
 * struct p2pbuf_rdma_addr - an IP address and a port
 * @family: AF_INET or AF_INET6
 * @port: in host byte order
 * @scope_id: of a link-local IPv6 address, else 0
 * @ip: in network byte order; of IPv4 the first 4 bytes, the others zero
 */
struct p2pbuf_rdma_addr {
	__u16 family;
	__u16 port;
	__u32 scope_id;
	__u8 ip[16];
};

/**
 * struct p2pbuf_rdma_listen - argument of P2PBUF_RDMA_LISTEN
 * @size: sizeof(struct p2pbuf_rdma_listen)
 * @flags: must be zero
 * @addr: where to listen. Port 0 lets the kernel choose. Out: the real port.
 */
struct p2pbuf_rdma_listen {
	__u32 size;
	__u32 flags;
	struct p2pbuf_rdma_addr addr;
};

/**
 * struct p2pbuf_rdma_limits - time limits of a connection
 * @recall_ms: milliseconds that the peer has to give a lease back; 0 means
 *	500, more than P2PBUF_RDMA_MAX_RECALL_MS is refused (EINVAL). A peer
 *	that does not loses the connection.
 * @wait_ms: milliseconds that a request may be parked at a time, not those that
 *	it is under way or that others are before it; 0 means 10000. When
 *	requests are under way and nothing of any of them ends for three times
 *	as long, and for 5 seconds, the connection ends (ETIMEDOUT): the peer
 *	may have asked for a transport that never gives up.
 */
struct p2pbuf_rdma_limits {
	__u32 recall_ms;
	__u32 wait_ms;
};

/**
 * struct p2pbuf_rdma_accept - argument of P2PBUF_RDMA_ACCEPT
 * @size: sizeof(struct p2pbuf_rdma_accept)
 * @flags: must be zero
 * @listen_fd: another open file of the node, a listener. Borrowed. This file
 *	becomes the connection.
 * @timeout_ms: milliseconds to wait for a peer; 0 does not wait. A signal ends
 *	the wait (EINTR), whether its handler restarts calls or not. One that
 *	has come is given as long to complete the connection, and 10 seconds at
 *	least, in which only a signal that kills ends the call. May be
 *	less when the call returns: io_uring's task work interrupts the wait as
 *	well, and it goes on with what is left of its time.
 * @limits: of the connection
 */
struct p2pbuf_rdma_accept {
	__u32 size;
	__u32 flags;
	__s32 listen_fd;
	__u32 timeout_ms;
	struct p2pbuf_rdma_limits limits;
};

/**
 * struct p2pbuf_rdma_connect - argument of P2PBUF_RDMA_CONNECT
 * @size: sizeof(struct p2pbuf_rdma_connect)
 * @flags: must be zero
 * @addr: where the peer listens
 * @timeout_ms: milliseconds for each step of making the connection
 * @reserved: must be zero
 * @limits: of the connection
 */
struct p2pbuf_rdma_connect {
	__u32 size;
	__u32 flags;
	struct p2pbuf_rdma_addr addr;
	__u32 timeout_ms;
	__u32 reserved;
	struct p2pbuf_rdma_limits limits;
};

/** P2PBUF_RDMA_IMPORT_ALLOW_SYSTEM: accept a buffer in host memory */
#define P2PBUF_RDMA_IMPORT_ALLOW_SYSTEM	(1U << 0)

/**
 * struct p2pbuf_rdma_import - argument of P2PBUF_RDMA_IMPORT
 * @size: sizeof(struct p2pbuf_rdma_import)
 * @flags: P2PBUF_RDMA_IMPORT_* bits
 * @dmabuf_fd: the buffer. Borrowed: the import takes its own reference. Its
 *	mode bounds the rights.
 * @id: what the buffer will be called on this connection, by both sides;
 *	1 to P2PBUF_RDMA_MAX_BUFFERS, or 0 for the lowest that is free. Out:
 *	the id.
 * @offset: first byte of the buffer that is imported; multiple of 4096
 * @length: bytes imported, multiple of 4096; 0 means up to the buffer's end.
 *	Out: the real length.
 * @rights: out, P2PBUF_RDMA_RIGHT_* bits
 * @segment: out, bytes of one registration; a request is cut at multiples
 * @path: out, how the device reaches the buffer now. Also filled when the
 *	ioctl fails because of the path: then path.reason says why.
 * @reserved: must be zero
 */
struct p2pbuf_rdma_import {
	__u32 size;
	__u32 flags;
	__s32 dmabuf_fd;
	__u32 id;
	__u64 offset;
	__u64 length;
	__u32 rights;
	__u32 segment;
	struct p2pbuf_path_info path;
	__u64 reserved[2];
};

/**
 * struct p2pbuf_rdma_release - argument of P2PBUF_RDMA_RELEASE
 * @size: sizeof(struct p2pbuf_rdma_release)
 * @id: the buffer. New requests on it fail at once (ENOENT), parked ones too;
 *	I/O in flight completes first and the peer gives its lease back, the
 *	call waits for both.
 */
struct p2pbuf_rdma_release {
	__u32 size;
	__u32 id;
};

/**
 * struct p2pbuf_rdma_grant - argument of P2PBUF_RDMA_GRANT
 * @size: sizeof(struct p2pbuf_rdma_grant)
 * @id: the imported buffer
 * @rights: P2PBUF_RDMA_RIGHT_* bits that the peer gets on all of the imported
 *	range; some of the import's own, at least one
 * @flags: must be zero
 */
struct p2pbuf_rdma_grant {
	__u32 size;
	__u32 id;
	__u32 rights;
	__u32 flags;
};

/**
 * struct p2pbuf_rdma_recall - argument of P2PBUF_RDMA_RECALL
 * @size: sizeof(struct p2pbuf_rdma_recall)
 * @id: the granted buffer. When the call returns the peer reaches it no more:
 *	it has given the lease back, or has lost the connection. Interrupted
 *	(EINTR) it is not granted any more, but the peer may still reach it:
 *	call again.
 */
struct p2pbuf_rdma_recall {
	__u32 size;
	__u32 id;
};

/**
 * enum p2pbuf_rdma_state - what an open file is
 * @P2PBUF_RDMA_NEW: nothing yet
 * @P2PBUF_RDMA_LISTENING: a listener
 * @P2PBUF_RDMA_CONNECTING: a connection being made
 * @P2PBUF_RDMA_UP: a connection
 * @P2PBUF_RDMA_DEAD: a connection that has ended; it cannot be used again
 */
enum p2pbuf_rdma_state {
	P2PBUF_RDMA_NEW = 0,
	P2PBUF_RDMA_LISTENING = 1,
	P2PBUF_RDMA_CONNECTING = 2,
	P2PBUF_RDMA_UP = 3,
	P2PBUF_RDMA_DEAD = 4,
};

/** P2PBUF_RDMA_F_CPU: the RDMA device copies with the CPU, it has no DMA */
#define P2PBUF_RDMA_F_CPU		(1U << 0)

/**
 * struct p2pbuf_rdma_info - argument of P2PBUF_RDMA_INFO
 * @size: sizeof(struct p2pbuf_rdma_info)
 * @state: out, one of &enum p2pbuf_rdma_state
 * @error: out, why the connection ended, a positive errno: ECONNRESET the
 *	peer left or P2PBUF_RDMA_SHUTDOWN, EACCES the peer's device refused
 *	access, ETIMEDOUT a lease did not come back or the peer's device did
 *	not answer, EPROTO the peer broke the protocol, ENODEV the device has
 *	gone, EREMOTEIO or EIO otherwise
 * @flags: out, P2PBUF_RDMA_F_* bits
 * @limits: out
 * @segment: out, bytes of one registration at most
 * @parked: out, requests that are parked now
 * @reads: out, RDMA READs that completed well
 * @writes: out, RDMA WRITEs, likewise
 * @bytes: out, bytes of both
 * @errors: out, requests that ended in an error after they were accepted
 * @parkings: out, requests that were parked
 * @grants_sent: out, grants and renewed grants to the peer
 * @grants_received: out, likewise from the peer
 * @recalls_sent: out, leases asked back
 * @recalls_received: out, likewise by the peer
 * @revocations: out, leases that ended with the connection because the peer
 *	did not give them back in time
 * @registrations: out, fast registrations
 * @invalidations: out, local invalidations
 * @messages_sent: out, control messages
 * @messages_received: out, likewise
 * @device: out, name of the RDMA device, ends with a zero
 * @reserved: zero
 */
struct p2pbuf_rdma_info {
	__u32 size;
	__u32 state;
	__u32 error;
	__u32 flags;
	struct p2pbuf_rdma_limits limits;
	__u32 segment;
	__u32 parked;
	__u64 reads;
	__u64 writes;
	__u64 bytes;
	__u64 errors;
	__u64 parkings;
	__u64 grants_sent;
	__u64 grants_received;
	__u64 recalls_sent;
	__u64 recalls_received;
	__u64 revocations;
	__u64 registrations;
	__u64 invalidations;
	__u64 messages_sent;
	__u64 messages_received;
	__u8 device[64];
	__u64 reserved[2];
};

/**
 * struct p2pbuf_rdma_buffer_info - argument of P2PBUF_RDMA_BUFFER_INFO
 * @size: sizeof(struct p2pbuf_rdma_buffer_info)
 * @id: in, the imported buffer
 * @rights: out, P2PBUF_RDMA_RIGHT_* bits of the import
 * @granted: out, those the peer has; 0 when it is not granted
 * @offset: out, as in &struct p2pbuf_rdma_import
 * @length: out, likewise
 * @epoch: out, number of the last registration
 * @invalidations: out, times the exporter ended a mapping
 * @path: out, the verdict on the last mapping; path.generation counts them
 * @reserved: zero
 */
struct p2pbuf_rdma_buffer_info {
	__u32 size;
	__u32 id;
	__u32 rights;
	__u32 granted;
	__u64 offset;
	__u64 length;
	__u64 epoch;
	__u64 invalidations;
	struct p2pbuf_path_info path;
	__u64 reserved[2];
};

/**
 * struct p2pbuf_rdma_remote_info - argument of P2PBUF_RDMA_REMOTE_INFO
 * @size: sizeof(struct p2pbuf_rdma_remote_info)
 * @id: in, the peer's buffer
 * @timeout_ms: in, milliseconds to wait until it is granted; 0 does not wait.
 *	A signal ends the wait (EINTR), whether its handler restarts calls or
 *	not. It may be less when the call returns, as in
 *	&struct p2pbuf_rdma_accept.
 * @rights: out, P2PBUF_RDMA_RIGHT_* bits
 * @length: out, bytes
 * @epoch: out, of the grant
 */
struct p2pbuf_rdma_remote_info {
	__u32 size;
	__u32 id;
	__u32 timeout_ms;
	__u32 rights;
	__u64 length;
	__u64 epoch;
};

/**
 * struct p2pbuf_rdma_cancel - argument of P2PBUF_RDMA_CANCEL
 * @size: sizeof(struct p2pbuf_rdma_cancel)
 * @flags: must be zero
 * @user_data: sqe->user_data of the request, of whichever ring; of several
 *	the first that can be cancelled. Its CQE says ECANCELED and comes once
 *	those parts that were posted have ended.
 */
struct p2pbuf_rdma_cancel {
	__u32 size;
	__u32 flags;
	__u64 user_data;
};

/**
 * struct p2pbuf_rdma_shutdown - argument of P2PBUF_RDMA_SHUTDOWN
 * @size: sizeof(struct p2pbuf_rdma_shutdown)
 * @flags: must be zero
 */
struct p2pbuf_rdma_shutdown {
	__u32 size;
	__u32 flags;
};

/** P2PBUF_RDMA_LISTEN: become a listener; &struct p2pbuf_rdma_listen */
#define P2PBUF_RDMA_LISTEN \
	_IOWR(P2PBUF_RDMA_IOC_MAGIC, 0x00, struct p2pbuf_rdma_listen)
/** P2PBUF_RDMA_ACCEPT: become a connection; &struct p2pbuf_rdma_accept */
#define P2PBUF_RDMA_ACCEPT \
	_IOW(P2PBUF_RDMA_IOC_MAGIC, 0x01, struct p2pbuf_rdma_accept)
/** P2PBUF_RDMA_CONNECT: become a connection; &struct p2pbuf_rdma_connect */
#define P2PBUF_RDMA_CONNECT \
	_IOW(P2PBUF_RDMA_IOC_MAGIC, 0x02, struct p2pbuf_rdma_connect)
/** P2PBUF_RDMA_IMPORT: import a buffer; &struct p2pbuf_rdma_import */
#define P2PBUF_RDMA_IMPORT \
	_IOWR(P2PBUF_RDMA_IOC_MAGIC, 0x03, struct p2pbuf_rdma_import)
/** P2PBUF_RDMA_RELEASE: end an import; &struct p2pbuf_rdma_release */
#define P2PBUF_RDMA_RELEASE \
	_IOW(P2PBUF_RDMA_IOC_MAGIC, 0x04, struct p2pbuf_rdma_release)
/** P2PBUF_RDMA_GRANT: let the peer use a buffer; &struct p2pbuf_rdma_grant */
#define P2PBUF_RDMA_GRANT \
	_IOW(P2PBUF_RDMA_IOC_MAGIC, 0x05, struct p2pbuf_rdma_grant)
/** P2PBUF_RDMA_RECALL: withdraw a grant; &struct p2pbuf_rdma_recall */
#define P2PBUF_RDMA_RECALL \
	_IOW(P2PBUF_RDMA_IOC_MAGIC, 0x06, struct p2pbuf_rdma_recall)
/** P2PBUF_RDMA_INFO: look at the connection; &struct p2pbuf_rdma_info */
#define P2PBUF_RDMA_INFO \
	_IOWR(P2PBUF_RDMA_IOC_MAGIC, 0x07, struct p2pbuf_rdma_info)
/** P2PBUF_RDMA_BUFFER_INFO: look at an import; &struct p2pbuf_rdma_buffer_info */
#define P2PBUF_RDMA_BUFFER_INFO \
	_IOWR(P2PBUF_RDMA_IOC_MAGIC, 0x08, struct p2pbuf_rdma_buffer_info)
/** P2PBUF_RDMA_REMOTE_INFO: look at a grant; &struct p2pbuf_rdma_remote_info */
#define P2PBUF_RDMA_REMOTE_INFO \
	_IOWR(P2PBUF_RDMA_IOC_MAGIC, 0x09, struct p2pbuf_rdma_remote_info)

/**
 * P2PBUF_RDMA_CANCEL: end a request that is parked, or a RECV;
 * &struct p2pbuf_rdma_cancel. IORING_OP_ASYNC_CANCEL does not reach commands.
 * Does not wait.
 */
#define P2PBUF_RDMA_CANCEL \
	_IOW(P2PBUF_RDMA_IOC_MAGIC, 0x0a, struct p2pbuf_rdma_cancel)

/**
 * P2PBUF_RDMA_SHUTDOWN: end the connection or the listener, for good;
 * &struct p2pbuf_rdma_shutdown. The last close does that too, but each request
 * under way and each copy of the descriptor keeps the file open. When the call
 * returns the peer reaches no buffer any more, no device is attached to one,
 * and what was under way or waited ends in ECONNRESET; so do calls of other
 * threads that wait, in ENOTCONN or ECONNABORTED. Interrupted (EINTR) it has
 * ended, but the rest may still be so: call again. Nothing to do is no error;
 * ENOTCONN on a file that is nothing yet.
 */
#define P2PBUF_RDMA_SHUTDOWN \
	_IOW(P2PBUF_RDMA_IOC_MAGIC, 0x0b, struct p2pbuf_rdma_shutdown)

/** P2PBUF_RDMA_URING_READ: sqe->cmd_op, the peer's buffer to ours */
#define P2PBUF_RDMA_URING_READ		_IO(P2PBUF_RDMA_IOC_MAGIC, 0x80)
/** P2PBUF_RDMA_URING_WRITE: sqe->cmd_op, our buffer to the peer's */
#define P2PBUF_RDMA_URING_WRITE		_IO(P2PBUF_RDMA_IOC_MAGIC, 0x81)
/**
 * P2PBUF_RDMA_URING_WRITE_IMM: sqe->cmd_op, a write after whose last byte the
 * peer's P2PBUF_RDMA_URING_RECV completes
 */
#define P2PBUF_RDMA_URING_WRITE_IMM	_IO(P2PBUF_RDMA_IOC_MAGIC, 0x82)
/**
 * P2PBUF_RDMA_URING_FLUSH: sqe->cmd_op, what was written before (its CQE seen)
 * is visible in the peer's device when the CQE arrives. Reads one byte at the
 * remote offset, which takes the right to read. Only the remote id, the remote
 * offset and the epoch are used; cqe->res is 0.
 */
#define P2PBUF_RDMA_URING_FLUSH		_IO(P2PBUF_RDMA_IOC_MAGIC, 0x83)
/**
 * P2PBUF_RDMA_URING_RECV: sqe->cmd_op, wait for the peer's next WRITE_IMM;
 * cqe->res is the immediate data. All other fields of the command are zero.
 * What was written before it is visible in our device. Not bound by wait_ms.
 */
#define P2PBUF_RDMA_URING_RECV		_IO(P2PBUF_RDMA_IOC_MAGIC, 0x84)

/**
 * P2PBUF_RDMA_FLUSH: on a READ: the data is visible to the exporter's device
 * when the CQE arrives. EINVAL on all else.
 */
#define P2PBUF_RDMA_FLUSH		(1U << 0)

/**
 * struct p2pbuf_rdma_cmd - the command bytes of the SQE
 * @local_id: imported buffer
 * @remote_id: buffer that the peer granted
 * @local_offset: first byte in the imported range
 * @remote_offset: first byte in the granted range
 * @length: bytes, at most P2PBUF_RDMA_MAX_LENGTH
 * @flags: P2PBUF_RDMA_FLUSH or 0
 * @imm: immediate data of a WRITE_IMM, P2PBUF_RDMA_IMM_BITS bits; else 0
 * @epoch: fail (ESTALE) unless it is the grant's; 0 takes any
 */
struct p2pbuf_rdma_cmd {
	__u32 local_id;
	__u32 remote_id;
	__u64 local_offset;
	__u64 remote_offset;
	__u64 length;
	__u32 flags;
	__u32 imm;
	__u64 epoch;
};

#endif /* _UAPI_LINUX_P2PBUF_RDMA_H */
