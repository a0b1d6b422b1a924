// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * What p2pbuf_send() says about the descriptor it sends, and what
 * p2pbuf_recv() believes of it. The peer may be hostile: nothing is used
 * before all of it was judged.
 */

#include <string.h>

#include "msg.h"

/* 0 when [@offset, @offset + @length) is a part of @whole bytes. */
static int range_check(uint64_t offset, uint64_t length, uint64_t whole,
		       struct p2pbuf_error *error)
{
	if (length && offset <= whole && length <= whole - offset)
		return 0;
	return p2pbuf_fail(error, ERANGE,
			   "%llu bytes from %llu are not a part of a buffer of %llu bytes",
			   (unsigned long long)length,
			   (unsigned long long)offset,
			   (unsigned long long)whole);
}

int p2pbuf_msg_make(struct p2pbuf_msg *msg, uint64_t buffer_length,
		    uint64_t generation, const struct p2pbuf_meta *meta,
		    struct p2pbuf_error *error)
{
	size_t len = strnlen(meta->name, sizeof(meta->name));

	if (len == sizeof(meta->name))
		return p2pbuf_fail(error, EINVAL, "the name is not terminated");

	memset(msg, 0, sizeof(*msg));
	msg->magic = P2PBUF_MSG_MAGIC;
	msg->version = P2PBUF_MSG_VERSION;
	msg->size = sizeof(*msg);
	msg->offset = meta->offset;
	msg->length = meta->length;
	if (!msg->length && msg->offset < buffer_length)
		msg->length = buffer_length - msg->offset;
	msg->buffer_length = buffer_length;
	msg->generation = generation;
	memcpy(msg->name, meta->name, len);

	return range_check(msg->offset, msg->length, buffer_length, error);
}

int p2pbuf_msg_parse(const void *bytes, size_t len, unsigned int nfds,
		     struct p2pbuf_meta *meta, struct p2pbuf_error *error)
{
	struct p2pbuf_msg msg;
	int ret;

	if (len != sizeof(msg))
		return p2pbuf_fail(error, EMSGSIZE,
				   "the message has %zu bytes, not %zu", len,
				   sizeof(msg));
	memcpy(&msg, bytes, sizeof(msg));
	if (msg.magic != P2PBUF_MSG_MAGIC)
		return p2pbuf_fail(error, EPROTO,
				   "the message does not begin with p2pbuf's magic number");
	if (msg.version != P2PBUF_MSG_VERSION || msg.size != sizeof(msg))
		return p2pbuf_fail(error, EPROTONOSUPPORT,
				   "the message is of version %u, this library knows %u",
				   msg.version, P2PBUF_MSG_VERSION);
	if (!nfds)
		return p2pbuf_fail(error, ENOMSG,
				   "the message carries no descriptor");
	if (nfds > 1)
		return p2pbuf_fail(error, ETOOMANYREFS,
				   "the message carries %u descriptors instead of one",
				   nfds);
	if (msg.reserved[0] || msg.reserved[1] || msg.reserved[2])
		return p2pbuf_fail(error, EBADMSG,
				   "the message's reserved bytes are not zero");
	if (!memchr(msg.name, '\0', sizeof(msg.name)))
		return p2pbuf_fail(error, EBADMSG,
				   "the message's name is not terminated");
	ret = range_check(msg.offset, msg.length, msg.buffer_length, error);
	if (ret < 0)
		return ret;

	meta->offset = msg.offset;
	meta->length = msg.length;
	meta->buffer_length = msg.buffer_length;
	meta->generation = msg.generation;
	memset(meta->name, 0, sizeof(meta->name));
	strcpy(meta->name, msg.name);

	return 0;
}
