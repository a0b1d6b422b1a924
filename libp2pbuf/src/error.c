// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Refusals: the sentence for one case, and what an errno means in general. */

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

void p2pbuf_error_set(struct p2pbuf_error *error, int code,
		      const char *fmt, ...)
{
	const size_t head = offsetof(struct p2pbuf_error, text);
	size_t room;
	va_list ap;

	/* An error struct without room for text could not say anything. */
	if (!error || error->size <= head)
		return;

	room = error->size - head;
	if (room > sizeof(error->text))
		room = sizeof(error->text);
	error->code = code;
	va_start(ap, fmt);
	vsnprintf(error->text, room, fmt, ap);
	va_end(ap);
}

/* One meaning per errno, as the uapi headers' tables have it. */
static const struct {
	int code;
	const char *text;
} texts[] = {
	{ EINVAL, "malformed request, or an unknown or misaligned value" },
	{ E2BIG, "a newer struct holds values this version does not know" },
	{ EFAULT, "a DMA address leads nowhere" },
	{ ENOENT, "no such object" },
	{ EBADFD, "the descriptor is not a dma-buf" },
	{ EBADR, "the file is not open with O_DIRECT" },
	{ ESPIPE, "the file is a pipe" },
	{ ESOCKTNOSUPPORT, "the file is a socket" },
	{ EISDIR, "the file is a directory" },
	{ ENOTBLK, "the file does not lie on a block device" },
	{ EPROTOTYPE, "the block device is not an NVMe namespace on PCI" },
	{ EMLINK, "the block device is a multipath head" },
	{ EMEDIUMTYPE, "the namespace is zoned, or a layer would move the data by CPU" },
	{ EOPNOTSUPP, "the object, the exporter or the namespace's format does not allow it" },
	{ EPROTO, "not a p2pbuf message, or the driver does not behave as needed" },
	{ ERANGE, "outside the buffer, the bound range or the device" },
	{ EDOM, "not a multiple of the unit" },
	{ EACCES, "the descriptors do not allow this direction" },
	{ EROFS, "the disk is read-only" },
	{ EMFILE, "too many bindings or open files" },
	{ EDQUOT, "over the user's limit" },
	{ ENOSPC, "device memory cannot hold the object" },
	{ ENODEV, "the device is gone" },
	{ ENXIO, "the p2pbuf module for this is not loaded" },
	{ ENOTTY, "not a p2pbuf exporter" },
	{ ESTALE, "the namespace was reformatted or resized" },
	{ EXDEV, "an importer that cannot reach the device's memory is attached" },
	{ EFBIG, "more than one binding takes" },
	{ EADDRINUSE, "the slot of the ring's buffer table is taken, or the address" },
	{ EREMOTE, "the dma-buf is of another device" },
	{ EREMOTEIO, "the buffer is or would be in host memory, or the peer's device failed" },
	{ EHOSTUNREACH, "the importer has no route to the exporter's memory" },
	{ EHOSTDOWN, "the exporter's BAR does not decode" },
	{ EADDRNOTAVAIL, "the mapping needs bounce buffers" },
	{ ENODATA, "nobody can tell where the addresses lead, or a media error" },
	{ ETIMEDOUT, "the command timed out" },
	{ EBUSY, "the object is pinned or in use" },
	{ EMSGSIZE, "truncated or oversized message or request" },
	{ EPROTONOSUPPORT, "the message is of another version" },
	{ EBADMSG, "the message contradicts itself" },
	{ ENOMSG, "the message carries no descriptor" },
	{ ETOOMANYREFS, "the message carries more than one descriptor" },
	{ EPIPE, "the peer is gone" },
	{ EPERM, "not permitted" },
	{ EAFNOSUPPORT, "not a UNIX socket" },
};

const char *p2pbuf_strerror(int err)
{
	const char *text;
	size_t i;

	/* The smallest of all has no opposite. */
	if (err < 0 && err != INT_MIN)
		err = -err;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].code == err)
			return texts[i].text;

	text = strerrordesc_np(err);
	return text ? text : "unknown error";
}
