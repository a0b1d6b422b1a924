/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) */
/*
 * /dev/p2pbuf-nvme: pre-mapped NVMe I/O on dma-bufs.
 *
 * A binding ties a range of a dma-buf to an NVMe namespace (or a partition of
 * one). I/O between the two is an IORING_OP_URING_CMD on the open file with a
 * plain 64-byte SQE:
 *
 *	sqe->fd		the open /dev/p2pbuf-nvme (a fixed file works too)
 *	sqe->cmd_op	P2PBUF_NVME_URING_READ or P2PBUF_NVME_URING_WRITE
 *	sqe->addr	byte offset in the binding's range
 *	sqe->len	bytes
 *	sqe->cmd	struct p2pbuf_nvme_cmd
 *
 * cqe->res is the byte count, always the whole of sqe->len, or -errno.
 *
 * Errors, one cause each. ioctls and commands alike:
 *
 *	EINVAL		malformed: short struct, unknown flag, command, SQE
 *			field or non-zero reserved field
 *	E2BIG		a longer struct has non-zero bytes this kernel does
 *			not know
 *	EFAULT		user memory cannot be accessed; or a mapped address
 *			leads nowhere (then reason is set)
 *	ENOENT		no binding of that id in this open file
 *	ENOMEM		out of memory, nothing was changed
 *	EINTR		interrupted before anything was transferred
 *
 * P2PBUF_NVME_BIND:
 *
 *	EBADF		a file descriptor is not open
 *	EBADFD		dmabuf_fd is not a dma-buf
 *	ENOTBLK		bdev_fd is not a block device
 *	EPROTOTYPE	the block device is not a namespace of the nvme driver
 *			on PCI
 *	EMLINK		a multipath head: its path is chosen for each I/O
 *	EMEDIUMTYPE	a zoned namespace
 *	EOPNOTSUPP	a namespace formatted with metadata
 *	EPROTO		the running nvme driver does not behave as needed
 *	ERANGE		the range lies outside the buffer
 *	EDOM		offset or length not a multiple of 4096
 *	EACCES		neither direction is allowed by the modes of the two
 *			file descriptors
 *	EMFILE		too many bindings in this open file
 *	EDQUOT		table memory over the user's RLIMIT_MEMLOCK
 *	EIO		the device does not answer, or cannot read its first
 *			block, which BIND reads to see how the driver behaves
 *	ENODEV		the device is being unbound
 *	EREMOTEIO	the buffer lies in host memory and
 *			P2PBUF_NVME_BIND_ALLOW_SYSTEM is not set
 *	EHOSTUNREACH	the device has no route to the exporter's BAR
 *	EHOSTDOWN	the exporter's BAR does not decode
 *	EADDRNOTAVAIL	the mapping needs bounce buffers
 *	ENODATA		nobody can tell where the DMA addresses lead
 *	other		the exporter's own error from attaching or mapping
 *			(EAGAIN from mapping is EBUSY)
 *
 * I/O:
 *
 *	EDOM		offset, length or device offset not a multiple of the
 *			logical block (buffer offset: of 4), or length 0
 *	ERANGE		outside the binding's range or the device
 *	EACCES		the direction is not among the binding's rights
 *	EROFS		write to a read-only disk
 *	EBUSY		write: the kernel could not drop the range from the
 *			disk's page cache; nothing was transferred
 *	ENODEV		the device is gone or unbound: bind anew
 *	ESTALE		the namespace was reformatted or resized: bind anew.
 *			One format is not noticed: protection information
 *			within the block, of the same block size and number
 *			of blocks as before. The administrator who formats a
 *			drive to that must end its bindings first: blocks are
 *			longer on the wire then than the memory behind them.
 *	EREMOTEIO	P2PBUF_NVME_BIND_PEER_ONLY, and the exporter moved
 *			the buffer to host memory
 *	EIO		the device reported an error, or it was reset before it
 *			was given the command; or a long request ended early,
 *			for what would have been EINTR, ENOMEM or EBUSY if the
 *			device had not been given part of it
 *	ENODATA		the device reported an unrecovered media error
 *	ETIMEDOUT	the command did not come to its end: it timed out and
 *			was aborted, or the device was reset, or removed, while
 *			it had it
 *	the path errors of BIND, when the exporter moved the buffer to where
 *	the device cannot reach it; and the exporter's own error from mapping
 *	it anew, EBUSY for its EAGAIN
 *
 * After an I/O error the bytes of the request's range are undefined on the
 * receiving side; nothing outside it is touched. A request is never reissued
 * after any part of it was handed to the device.
 */
#ifndef _UAPI_LINUX_P2PBUF_NVME_H
#define _UAPI_LINUX_P2PBUF_NVME_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/p2pbuf_path.h>

#define P2PBUF_NVME_IOC_MAGIC	0xBE

/** P2PBUF_NVME_BIND_ALLOW_SYSTEM: accept a buffer that lies in host memory */
#define P2PBUF_NVME_BIND_ALLOW_SYSTEM	(1U << 0)
/**
 * P2PBUF_NVME_BIND_PEER_ONLY: refuse I/O (EREMOTEIO) also while the exporter
 * has moved the buffer to host memory. Without it I/O follows the buffer, and
 * &p2pbuf_nvme_bind_info.bytes_system tells how much went there. Excludes
 * P2PBUF_NVME_BIND_ALLOW_SYSTEM.
 */
#define P2PBUF_NVME_BIND_PEER_ONLY	(1U << 1)

/** P2PBUF_NVME_RIGHT_READ: device to buffer is allowed */
#define P2PBUF_NVME_RIGHT_READ		(1U << 0)
/** P2PBUF_NVME_RIGHT_WRITE: buffer to device is allowed */
#define P2PBUF_NVME_RIGHT_WRITE		(1U << 1)

/**
 * struct p2pbuf_nvme_bind - argument of P2PBUF_NVME_BIND
 * @size: sizeof(struct p2pbuf_nvme_bind)
 * @flags: P2PBUF_NVME_BIND_* bits
 * @dmabuf_fd: the buffer. Borrowed: the binding takes its own reference.
 *	Its mode bounds the rights: reading from the device writes the buffer
 *	and needs a writable fd, writing to the device needs a readable one.
 * @bdev_fd: the open namespace or partition. Borrowed likewise. FMODE_READ
 *	gives the right to read from it, FMODE_WRITE the right to write.
 * @offset: first byte of the buffer the binding covers; multiple of 4096
 * @length: bytes covered, multiple of 4096; 0 means up to the buffer's end.
 *	Out: the real length.
 * @id: out, the binding's id in this open file; never reused while the file
 *	is open until all other ids were
 * @rights: out, P2PBUF_NVME_RIGHT_* bits
 * @lba_size: out, logical block in bytes: unit of length and device offset
 * @max_io: out, bytes the device takes in one command; longer requests are
 *	split inside
 * @capacity: out, bytes of the namespace or partition
 * @path: out, how the device reaches the buffer now. Also filled when the
 *	ioctl fails because of the path: then path.reason says why.
 * @reserved: must be zero
 */
struct p2pbuf_nvme_bind {
	__u32 size;
	__u32 flags;
	__s32 dmabuf_fd;
	__s32 bdev_fd;
	__u64 offset;
	__u64 length;
	__u32 id;
	__u32 rights;
	__u32 lba_size;
	__u32 max_io;
	__u64 capacity;
	struct p2pbuf_path_info path;
	__u64 reserved[2];
};

/**
 * struct p2pbuf_nvme_unbind - argument of P2PBUF_NVME_UNBIND
 * @size: sizeof(struct p2pbuf_nvme_unbind)
 * @id: the binding. New I/O on it fails at once (ENOENT); I/O in flight
 *	completes first, the call waits for it.
 */
struct p2pbuf_nvme_unbind {
	__u32 size;
	__u32 id;
};

/**
 * struct p2pbuf_nvme_bind_info - argument of P2PBUF_NVME_BIND_INFO
 * @size: sizeof(struct p2pbuf_nvme_bind_info)
 * @id: in, the binding
 * @flags: out, the binding's P2PBUF_NVME_BIND_* bits
 * @rights: out, as in &struct p2pbuf_nvme_bind
 * @offset: out, likewise
 * @length: out, likewise
 * @lba_size: out, likewise
 * @max_io: out, likewise
 * @capacity: out, likewise
 * @path: out, the verdict on the last mapping; path.generation counts them
 * @reads: out, read commands the device completed, failed ones included; a
 *	request that was split counts once for each part
 * @writes: out, write commands, likewise
 * @bytes_peer: out, bytes moved peer to peer
 * @bytes_system: out, bytes moved while the buffer lay in host memory
 * @errors: out, requests that ended in an error after reaching the driver
 * @deferred: out, requests that had to leave the fast path (remapping, no
 *	free request, page cache to write back)
 * @invalidations: out, times the exporter ended a mapping
 * @table_bytes: out, memory of the address tables
 * @reserved: zero
 */
struct p2pbuf_nvme_bind_info {
	__u32 size;
	__u32 id;
	__u32 flags;
	__u32 rights;
	__u64 offset;
	__u64 length;
	__u32 lba_size;
	__u32 max_io;
	__u64 capacity;
	struct p2pbuf_path_info path;
	__u64 reads;
	__u64 writes;
	__u64 bytes_peer;
	__u64 bytes_system;
	__u64 errors;
	__u64 deferred;
	__u64 invalidations;
	__u64 table_bytes;
	__u64 reserved[2];
};

/** P2PBUF_NVME_BIND: make a binding; &struct p2pbuf_nvme_bind */
#define P2PBUF_NVME_BIND \
	_IOWR(P2PBUF_NVME_IOC_MAGIC, 0x00, struct p2pbuf_nvme_bind)
/** P2PBUF_NVME_UNBIND: end a binding; &struct p2pbuf_nvme_unbind */
#define P2PBUF_NVME_UNBIND \
	_IOW(P2PBUF_NVME_IOC_MAGIC, 0x01, struct p2pbuf_nvme_unbind)
/** P2PBUF_NVME_BIND_INFO: look at a binding; &struct p2pbuf_nvme_bind_info */
#define P2PBUF_NVME_BIND_INFO \
	_IOWR(P2PBUF_NVME_IOC_MAGIC, 0x02, struct p2pbuf_nvme_bind_info)

/** P2PBUF_NVME_URING_READ: sqe->cmd_op, device to buffer */
#define P2PBUF_NVME_URING_READ	_IO(P2PBUF_NVME_IOC_MAGIC, 0x80)
/** P2PBUF_NVME_URING_WRITE: sqe->cmd_op, buffer to device */
#define P2PBUF_NVME_URING_WRITE	_IO(P2PBUF_NVME_IOC_MAGIC, 0x81)

/**
 * P2PBUF_NVME_FUA: the write is on stable media when the CQE arrives (Force
 * Unit Access, NVM Command Set specification, Write command). EINVAL on reads.
 */
#define P2PBUF_NVME_FUA		(1U << 0)
/**
 * P2PBUF_NVME_FLUSH: the data of the read is visible to the exporter's device
 * when the CQE arrives: the CPU reads from the same BAR, which pushes posted
 * writes ahead of the read (PCIe 6.0 section 2.4.1). EINVAL on writes.
 */
#define P2PBUF_NVME_FLUSH	(1U << 1)

/**
 * struct p2pbuf_nvme_cmd - the 16 command bytes of the SQE
 * @dev_offset: byte offset on the bound device (partition offset 0 is the
 *	partition's first byte); multiple of the logical block
 * @id: the binding
 * @flags: P2PBUF_NVME_FUA or P2PBUF_NVME_FLUSH
 */
struct p2pbuf_nvme_cmd {
	__u64 dev_offset;
	__u32 id;
	__u32 flags;
};

#endif /* _UAPI_LINUX_P2PBUF_NVME_H */
