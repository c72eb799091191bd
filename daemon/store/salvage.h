// What is left of a journal whose trees are broken: the rows of every page that can still be read.
#pragma once

#include "common/base/result.h"

#include <cstdint>
#include <string>

namespace rtrain::store {

/// Makes a journal in `into_dir`, which it makes as well, and puts into it what the pages of the broken one
/// hold: jobs, specs, events, documents. To which table a row belongs says its shape (how many values, of
/// which kinds), so the schema and the roots may be gone; journals of older schemas have the same shapes.
/// Metric files are indexed by recover, and indexes follow from the tables. Then it adds what only `backup`,
/// a sound journal, has: "" none. So an event that is lost is in the history all the same when the backup has
/// it. Returns how many rows it has found in the pages; 0 leaves an empty journal. The broken file and its
/// log are only read.
///
/// A page can be read when SQLite could: one that was overwritten is lost with its rows, and with those whose
/// ends lie in it. Rows of pruned jobs come back in one case only: their page is free, and neither the list
/// nor the map of free pages that says so can be read; the SQLite of Debian overwrites what is deleted, and
/// has nothing to come back. Of two versions of a row that one is taken which is further on. No input makes
/// it crash or hang. kNotFound: there is neither file nor log; kIo, kUnavailable (no space for the new one).
/// @thread the folder's only user, as rtraind recover is.
[[nodiscard]] Result<std::int64_t> salvage(const std::string& path, const std::string& into_dir,
                                           const std::string& backup = "");

}  // namespace rtrain::store
