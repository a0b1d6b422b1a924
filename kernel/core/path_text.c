// SPDX-License-Identifier: GPL-2.0
/* Paths and reasons in words, for logs and debugfs. */
#include <linux/array_size.h>
#include <linux/export.h>

#include "p2pbuf_core.h"

static const char * const path_names[] = {
	[P2PBUF_PATH_NONE] = "none",
	[P2PBUF_PATH_BUS] = "bus",
	[P2PBUF_PATH_BRIDGE] = "bridge",
	[P2PBUF_PATH_SYSTEM] = "system",
	[P2PBUF_PATH_REFUSED] = "refused",
};

static const char * const path_reasons[] = {
	[P2PBUF_REASON_NONE] =
	"nothing stands in the way",
	[P2PBUF_REASON_NOT_PEER] =
	"the buffer lies in host memory and the caller did not allow that",
	[P2PBUF_REASON_NO_ROUTE] =
	"the two devices share no upstream port and the host bridge is not known to forward between its ports",
	[P2PBUF_REASON_ACS] =
	"ACS sends peer requests up to a host bridge that is not known to forward them",
	[P2PBUF_REASON_DEAD_BAR] =
	"the addresses lie in a BAR that does not decode",
	[P2PBUF_REASON_NOWHERE] =
	"an address leads nowhere, or to something that is neither RAM nor one function's BAR",
	[P2PBUF_REASON_BUS_UNDER_IOMMU] =
	"the exporter gave bus addresses although an IOMMU translates, and on this machine the IOMMU sees them before the switch does",
	[P2PBUF_REASON_BOUNCE] =
	"the mapping goes through bounce buffers or needs cache maintenance around each transfer",
	[P2PBUF_REASON_OPAQUE] =
	"the device's DMA layer does not tell where addresses lead, or an address exceeds its DMA mask",
	[P2PBUF_REASON_EXPORTER] =
	"the exporter refused to map the buffer",
	[P2PBUF_REASON_UNALIGNED] =
	"a DMA segment is not made of whole pages",
};

/**
 * p2pbuf_path_name - the word for a path
 * @path: one of &enum p2pbuf_path
 *
 * Return: "bus", "bridge", ...; "unknown" for a value that has no name.
 */
const char *p2pbuf_path_name(u32 path)
{
	return path < ARRAY_SIZE(path_names) ? path_names[path] : "unknown";
}
EXPORT_SYMBOL_GPL(p2pbuf_path_name);

/**
 * p2pbuf_reason_text - why a path was refused, for people
 * @reason: one of &enum p2pbuf_reason
 *
 * Return: one clause without a full stop.
 */
const char *p2pbuf_reason_text(u32 reason)
{
	return reason < ARRAY_SIZE(path_reasons) ? path_reasons[reason] :
						   "unknown reason";
}
EXPORT_SYMBOL_GPL(p2pbuf_reason_text);
