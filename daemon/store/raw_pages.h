// The pages of an SQLite database, read past SQLite: also of a file that it refuses, and none of whose trees
// leads anywhere. https://sqlite.org/fileformat2.html
#pragma once

#include "common/base/result.h"

#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace rtrain::store {

/// A file and its -wal, as they were after the last commit that is whole in the log. The log is read up to
/// the first frame whose checksum is wrong, as SQLite does; unlike there it counts also when page 1 is gone.
/// Nothing is written and nothing locked: nobody may write meanwhile. Every number in the files is checked
/// before it is used: they may hold anything.
/// @thread one at a time.
class RawPages {
 public:
  /// kNotFound: there is neither a file that can be read nor a log. A log that is no log is as none.
  [[nodiscard]] static Result<RawPages> open(const std::string& path);

  /// Of the log's header, else of page 1, else 4096, which is what every journal has.
  [[nodiscard]] std::size_t page_bytes() const { return page_bytes_; }
  /// Of a page, what SQLite uses.
  [[nodiscard]] std::size_t usable_bytes() const { return usable_bytes_; }
  /// Pages are numbered from 1. A file that was cut off has as many as are left of it.
  [[nodiscard]] std::uint32_t count() const { return count_; }
  /// False: there is no such page, or the disk does not give it.
  [[nodiscard]] bool read(std::uint32_t number, std::string& into);
  /// True: the page holds no data, or none that still counts. It is in the list of free pages, or the map of
  /// pages calls it free, or it is such a map. What of the list or of the maps is broken is not followed: its
  /// free pages look like others then.
  [[nodiscard]] bool is_spare(std::uint32_t number) const { return number < spare_.size() && spare_[number]; }

 private:
  void read_log(const std::string& path);
  void read_header();
  void find_free_list(std::uint32_t trunk, std::uint32_t pages);
  void find_maps();
  [[nodiscard]] std::uint32_t pending_page() const {
    return static_cast<std::uint32_t>(0x40000000u / page_bytes_) + 1;
  }

  std::ifstream file_, log_;
  std::uint64_t file_bytes_ = 0;
  std::size_t page_bytes_ = 4096, usable_bytes_ = 4096;
  std::uint32_t count_ = 0;
  std::unordered_map<std::uint32_t, std::uint64_t> in_log_;  ///< page: where its newest version begins
  std::vector<bool> spare_;
};

/// Big-endian numbers, as they are in the file. @param at  there are 2 or 4 bytes from it on
[[nodiscard]] std::uint32_t raw_u16(std::string_view bytes, std::size_t at);
[[nodiscard]] std::uint32_t raw_u32(std::string_view bytes, std::size_t at);

}  // namespace rtrain::store
