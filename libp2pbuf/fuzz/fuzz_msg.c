// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* What p2pbuf_recv() believes of a message, without a socket. */
#include "fuzz.h"
#include "msg.h"

/*
 * A message that was accepted names a part of its buffer, and making one from
 * what was understood gives the same bytes again.
 */
static void accepted(const struct p2pbuf_msg *msg,
		     const struct p2pbuf_meta *meta)
{
	struct p2pbuf_error error = { .size = sizeof(error) };
	struct p2pbuf_msg again;

	PROMISE(meta->length);
	PROMISE(meta->offset <= meta->buffer_length);
	PROMISE(meta->length <= meta->buffer_length - meta->offset);
	PROMISE(memchr(meta->name, '\0', sizeof(meta->name)));
	PROMISE(!p2pbuf_msg_make(&again, meta->buffer_length, meta->generation,
				 meta, &error));
	PROMISE(!strcmp(again.name, msg->name));
	memcpy(again.name, msg->name, sizeof(again.name));
	PROMISE(!memcmp(&again, msg, sizeof(again)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct p2pbuf_error error = { .size = sizeof(error) };
	struct p2pbuf_meta meta = { .size = sizeof(meta) }, before = meta;
	struct input in = { data, size };
	unsigned int nfds = input_byte(&in) % 4;
	struct p2pbuf_msg msg;
	int ret;

	ret = p2pbuf_msg_parse(in.data, in.size, nfds, &meta, &error);
	PROMISE(ret <= 0);
	if (ret) {
		PROMISE(error.code == -ret && error.text[0]);
		PROMISE(!memcmp(&meta, &before, sizeof(meta)));
		return 0;
	}
	memcpy(&msg, in.data, sizeof(msg));
	accepted(&msg, &meta);
	return 0;
}
