// The rows in a page of an SQLite database, read past SQLite.
#pragma once

#include "daemon/store/raw_pages.h"

#include <functional>

namespace rtrain::store {

struct RawValue {
  enum class Kind { kNull, kInteger, kText, kOther };
  Kind kind = Kind::kNull;
  std::int64_t integer = 0;
  std::string text;
};

/// Of a table with a rowid, or of an index: a table without rowid is one.
struct RawRow {
  bool of_table = false;
  std::int64_t rowid = 0;  ///< of a table
  std::vector<RawValue> values;
};

/// Gives each row of a page that can be read, in the order of the page: none when it is no page of rows. A
/// row that is not whole is left out, with the rest of it in other pages too; so is one with more than
/// kRawColumns values. `each` returns false to stop. False: it did. @param number  not 1, which holds the
/// schema
bool each_raw_row(RawPages& pages, std::uint32_t number, const std::function<bool(const RawRow&)>& each);

inline constexpr std::size_t kRawColumns = 16;

}  // namespace rtrain::store
