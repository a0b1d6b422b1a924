/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What two machines say to each other: the wire format, version 1.
 *
 * Everything is little endian. Nothing of it is an address: data is named by
 * the id of a buffer and an offset, and the RDMA address that goes with them
 * is id << P2PBUF_RDMA_IOVA_SHIFT | offset on both sides.
 */
#ifndef P2PBUF_RDMA_WIRE_H
#define P2PBUF_RDMA_WIRE_H

#include <linux/types.h>

#define P2PBUF_RDMA_MAGIC	0x62703270	/* "p2pb" */
#define P2PBUF_RDMA_VERSION	1

/* Control messages that may be on their way, unacknowledged. */
#define P2PBUF_RDMA_WINDOW	32
/* Writes with immediate data, likewise. */
#define P2PBUF_RDMA_IMM_WINDOW	32
/* Keys in one GRANT. */
#define P2PBUF_RDMA_KEYS	4

#define P2PBUF_RDMA_IOVA_SHIFT	40

/**
 * struct p2pbuf_rdma_hello - private data of the connection request and reply
 * @magic: P2PBUF_RDMA_MAGIC
 * @version: P2PBUF_RDMA_VERSION; another one is refused
 * @size: bytes of a control message
 * @reserved: zero
 */
struct p2pbuf_rdma_hello {
	__le32 magic;
	__le16 version;
	__le16 size;
	__le64 reserved;
} __packed;

/**
 * enum p2pbuf_rdma_type - control messages
 * @P2PBUF_RDMA_CREDIT: nothing but the acknowledgements in its head
 * @P2PBUF_RDMA_GRANT_LEASE: keys of a buffer. A grant is made of as many of them as
 *	it takes, in order; the last one makes it valid.
 * @P2PBUF_RDMA_RECALL_LEASE: give it back
 * @P2PBUF_RDMA_RECALL_ACK: given back, no request of ours is under way
 * @P2PBUF_RDMA_WITHDRAW: what was given back will not be granted again
 * @P2PBUF_RDMA_TYPES: how many there are; any other type ends the connection
 */
enum p2pbuf_rdma_type {
	P2PBUF_RDMA_CREDIT = 1,
	P2PBUF_RDMA_GRANT_LEASE = 2,
	P2PBUF_RDMA_RECALL_LEASE = 3,
	P2PBUF_RDMA_RECALL_ACK = 4,
	P2PBUF_RDMA_WITHDRAW = 5,
	P2PBUF_RDMA_TYPES,
};

/* &p2pbuf_rdma_msg.flags of RECALL_LEASE: it will not be granted again. */
#define P2PBUF_RDMA_FOR_GOOD	0x01

/**
 * struct p2pbuf_rdma_msg - a control message; what a type does not use is zero
 * @magic: P2PBUF_RDMA_MAGIC
 * @version: P2PBUF_RDMA_VERSION
 * @type: one of &enum p2pbuf_rdma_type
 * @seq: counts the messages of this direction, from 1, without a gap
 * @ack: @seq of the last message of the other direction that was seen
 * @imm_ack: how many immediate data of the other direction were taken
 * @id: all but CREDIT: the buffer, an id of the side that owns it
 * @epoch: all but CREDIT: number of the registration, from 1, grows
 * @length: GRANT_LEASE: bytes of the buffer
 * @segment: GRANT_LEASE: number of the first key
 * @count: GRANT_LEASE: keys that follow, 1 to P2PBUF_RDMA_KEYS
 * @shift: GRANT_LEASE: log2 of the bytes that one key covers, 12 to 30
 * @rights: GRANT_LEASE: P2PBUF_RDMA_RIGHT_* bits, not 0
 * @flags: RECALL_LEASE: P2PBUF_RDMA_FOR_GOOD or 0
 * @keys: GRANT_LEASE: remote keys
 */
struct p2pbuf_rdma_msg {
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
	__le32 keys[P2PBUF_RDMA_KEYS];
} __packed;

#endif /* P2PBUF_RDMA_WIRE_H */
