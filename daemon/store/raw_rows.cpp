#include "daemon/store/raw_rows.h"

#include <algorithm>
#include <optional>
#include <unordered_set>

namespace rtrain::store {
namespace {

constexpr char kIndexInterior = 0x02, kIndexLeaf = 0x0a, kTableLeaf = 0x0d;

/// Bytes that are taken from the front; empty-handed when there are too few.
struct Bytes {
  std::string_view left;

  /// Up to nine bytes: seven bits each, the ninth eight.
  std::optional<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 9 && i < left.size(); ++i) {
      const auto byte = static_cast<unsigned char>(left[i]);
      value = i == 8 ? value << 8 | byte : value << 7 | (byte & 0x7f);
      if (i < 8 && (byte & 0x80) != 0) continue;
      left.remove_prefix(i + 1);
      return value;
    }
    return std::nullopt;
  }
  std::optional<std::string_view> take(std::uint64_t bytes) {
    if (bytes > left.size()) return std::nullopt;
    const auto taken = left.substr(0, bytes);
    left.remove_prefix(bytes);
    return taken;
  }
};

std::optional<RawValue> value_of(std::uint64_t type, Bytes& body) {
  using Kind = RawValue::Kind;
  constexpr std::size_t kIntegerBytes[] = {0, 1, 2, 3, 4, 6, 8};
  if (type == 0) return RawValue{};
  if (type == 8 || type == 9) return RawValue{Kind::kInteger, static_cast<std::int64_t>(type - 8), {}};
  if (type == 10 || type == 11) return std::nullopt;
  const auto bytes = body.take(type <= 6 ? kIntegerBytes[type] : type == 7 ? 8 : (type - 12) / 2);
  if (!bytes) return std::nullopt;
  if (type > 12 && type % 2 == 1) return RawValue{Kind::kText, 0, std::string(*bytes)};
  if (type >= 7) return RawValue{Kind::kOther, 0, {}};
  std::uint64_t value = (static_cast<unsigned char>(bytes->front()) & 0x80) != 0 ? ~std::uint64_t{0} : 0;
  for (const char byte : *bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return RawValue{Kind::kInteger, static_cast<std::int64_t>(value), {}};
}

std::optional<std::vector<RawValue>> values_of(std::string_view record) {
  Bytes header{record};
  const auto header_bytes = header.varint();
  if (!header_bytes || *header_bytes > record.size()) return std::nullopt;
  const auto length_of_it = record.size() - header.left.size();
  if (*header_bytes < length_of_it) return std::nullopt;
  header.left = record.substr(length_of_it, *header_bytes - length_of_it);
  Bytes body{record.substr(*header_bytes)};
  std::vector<RawValue> values;
  while (!header.left.empty()) {
    const auto type = header.varint();
    auto value = type ? value_of(*type, body) : std::nullopt;
    if (!value || values.size() == kRawColumns) return std::nullopt;
    values.push_back(std::move(*value));
  }
  return values;
}

class Page {
 public:
  Page(RawPages& pages, std::string_view bytes)
      : pages_(pages), bytes_(bytes.substr(0, pages.usable_bytes())), kind_(bytes_[0]) {}

  [[nodiscard]] bool has_rows() const {
    return kind_ == kIndexInterior || kind_ == kIndexLeaf || kind_ == kTableLeaf;
  }
  /// As many as the page says, or none when it cannot hold them.
  [[nodiscard]] std::size_t cells() const {
    const std::size_t claimed = raw_u16(bytes_, 3);
    return pointers() + 2 * claimed <= bytes_.size() ? claimed : 0;
  }
  [[nodiscard]] std::optional<RawRow> row(std::size_t cell) {
    const std::size_t at = raw_u16(bytes_, pointers() + 2 * cell);
    if (at < pointers() + 2 * cells() || at >= bytes_.size()) return std::nullopt;
    Bytes rest{bytes_.substr(at)};
    if (kind_ == kIndexInterior && !rest.take(4)) return std::nullopt;  // the page below it
    const auto length = rest.varint();
    if (!length) return std::nullopt;
    RawRow row{.of_table = kind_ == kTableLeaf, .rowid = 0, .values = {}};
    if (row.of_table) {
      const auto rowid = rest.varint();
      if (!rowid) return std::nullopt;
      row.rowid = static_cast<std::int64_t>(*rowid);
    }
    const auto record = payload(*length, rest);
    auto values = record ? values_of(*record) : std::nullopt;
    if (!values) return std::nullopt;
    row.values = std::move(*values);
    return row;
  }

 private:
  /// Where the places of the cells are listed.
  [[nodiscard]] std::size_t pointers() const { return kind_ == kIndexInterior ? 12 : 8; }

  /// A record, of which what is too long for the page lies in a chain of others.
  std::optional<std::string> payload(std::uint64_t length, Bytes& rest) {
    const std::uint64_t usable = pages_.usable_bytes(), all = usable * pages_.count();
    if (length > all) return std::nullopt;
    const auto here_max = kind_ == kTableLeaf ? usable - 35 : (usable - 12) * 64 / 255 - 23;
    const auto here_min = (usable - 12) * 32 / 255 - 23;
    auto here = length;
    if (length > here_max) {
      here = here_min + (length - here_min) % (usable - 4);
      if (here > here_max) here = here_min;
    }
    const auto begin = rest.take(here);
    if (!begin) return std::nullopt;
    std::string record(*begin);
    if (record.size() == length) return record;
    const auto link = rest.take(4);
    if (!link) return std::nullopt;
    std::uint32_t next = raw_u32(*link, 0);
    std::unordered_set<std::uint32_t> seen;  // a chain that bites its tail ends
    for (std::string page; record.size() < length; next = raw_u32(page, 0)) {
      if (next < 2 || pages_.is_spare(next) || !seen.insert(next).second || !pages_.read(next, page))
        return std::nullopt;
      record.append(page, 4, std::min<std::uint64_t>(usable - 4, length - record.size()));
    }
    if (next != 0) return std::nullopt;  // the last one has none behind it: this was another chain
    return record;
  }

  RawPages& pages_;
  const std::string_view bytes_;
  const char kind_;
};

}  // namespace

bool each_raw_row(RawPages& pages, std::uint32_t number, const std::function<bool(const RawRow&)>& each) {
  std::string bytes;
  if (pages.is_spare(number) || !pages.read(number, bytes)) return true;
  Page page(pages, bytes);
  if (!page.has_rows()) return true;
  for (std::size_t cell = 0; cell < page.cells(); ++cell) {
    const auto row = page.row(cell);
    if (row && !each(*row)) return false;
  }
  return true;
}

}  // namespace rtrain::store
