#include "common/base/crc32c.h"

#include <array>
#include <cstddef>
#include <cstring>

namespace rtrain {
namespace {

constexpr std::uint32_t kPolynomial = 0x82F63B78;  // reflected
using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

/// Table k gives the effect of a byte that k more bytes follow: eight bytes are eight look-ups.
constexpr Tables kTables = [] {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (std::size_t k = 1; k < tables.size(); ++k)
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const auto before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8) ^ tables[0][before & 0xFF];
    }
  return tables;
}();

std::uint64_t eight_bytes(const char* at) {
  std::uint64_t word = 0;
  for (int i = 7; i >= 0; --i) word = word << 8 | static_cast<unsigned char>(at[i]);
  return word;
}

std::uint32_t by_tables(std::uint32_t state, std::string_view bytes) {
  for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
    const auto word = eight_bytes(bytes.data()) ^ state;
    state = 0;
    for (std::size_t k = 0; k < 8; ++k) state ^= kTables[7 - k][word >> (8 * k) & 0xFF];
  }
  for (const char byte : bytes)
    state = (state >> 8) ^ kTables[0][(state ^ static_cast<unsigned char>(byte)) & 0xFF];
  return state;
}

/// What a state becomes by 2^k zero bytes: the columns of a matrix over GF(2).
using Matrix = std::array<std::uint32_t, 32>;

constexpr std::uint32_t product(const Matrix& matrix, std::uint32_t state) {
  std::uint32_t result = 0;
  for (std::size_t bit = 0; state != 0; state >>= 1, ++bit)
    if ((state & 1) != 0) result ^= matrix[bit];
  return result;
}

constexpr std::array<Matrix, 64> kZeros = [] {
  std::array<Matrix, 64> zeros{};
  for (std::size_t bit = 0; bit < 32; ++bit) {
    const std::uint32_t state = std::uint32_t{1} << bit;
    zeros[0][bit] = (state >> 8) ^ kTables[0][state & 0xFF];
  }
  for (std::size_t k = 1; k < zeros.size(); ++k)
    for (std::size_t bit = 0; bit < 32; ++bit) zeros[k][bit] = product(zeros[k - 1], zeros[k - 1][bit]);
  return zeros;
}();

std::uint32_t behind_zeros(std::uint32_t state, std::uint64_t bytes) {
  for (std::size_t k = 0; bytes != 0; bytes >>= 1, ++k)
    if ((bytes & 1) != 0) state = product(kZeros[k], state);
  return state;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t by_processor(std::uint32_t state, std::string_view bytes) {
  std::uint64_t wide = state;
  for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), 8);
    wide = __builtin_ia32_crc32di(wide, word);
  }
  return by_tables(static_cast<std::uint32_t>(wide), bytes);
}
#endif

}  // namespace

void Crc32c::add(std::string_view bytes) {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) {
    state_ = by_processor(state_, bytes);
    return;
  }
#endif
  state_ = by_tables(state_, bytes);
}

void Crc32cPieces::add(std::uint32_t crc, std::uint64_t at, std::uint64_t size) {
  const auto alone = ~crc ^ behind_zeros(~std::uint32_t{0}, size);  // without the ones that CRC begins with
  state_.bytes += size;
  state_.sum ^= behind_zeros(alone, bytes_ - at - size);
}

void Crc32cPieces::join(State other) {
  state_.bytes += other.bytes;
  state_.sum ^= other.sum;
}

std::uint32_t Crc32cPieces::value() const { return ~(state_.sum ^ behind_zeros(~std::uint32_t{0}, bytes_)); }

}  // namespace rtrain
