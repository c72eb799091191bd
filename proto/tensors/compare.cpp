#include "proto/tensors/compare.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

namespace rtrain::tensors {
namespace {

/// A float of sign, exponent and mantissa, as IEEE 754 has them. `finite`: the largest exponent is that of
/// numbers, too, and only all ones are NaN (float8_e4m3fn).
double small_float(std::uint32_t bits, int exponent_bits, int mantissa_bits, bool finite = false) {
  const auto mantissa_mask = (1u << mantissa_bits) - 1, exponent_mask = (1u << exponent_bits) - 1;
  const auto mantissa = bits & mantissa_mask, exponent = bits >> mantissa_bits & exponent_mask;
  const bool negative = (bits >> (exponent_bits + mantissa_bits) & 1) != 0;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  double value = 0;
  if (exponent == exponent_mask && (!finite || mantissa == mantissa_mask))
    value =
        mantissa == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  else if (exponent == 0)
    value = std::ldexp(mantissa, 1 - bias - mantissa_bits);
  else
    value = std::ldexp(mantissa + mantissa_mask + 1, static_cast<int>(exponent) - bias - mantissa_bits);
  return negative ? -value : value;
}

/// A power of two without sign or zero; all ones are NaN (float8_e8m0fnu).
double exponent_only(std::uint8_t bits) {
  return bits == 0xff ? std::numeric_limits<double>::quiet_NaN() : std::ldexp(1.0, bits - 127);
}

template <class T>
T load(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

using Decode = double (*)(const char*);

template <class T>
double decode(const char* at) {
  return static_cast<double>(load<T>(at));
}

/// Complex numbers are compared part by part: their decoder is that of a part.
Decode decoder_of(const Dtype& dtype) {
  const auto is = [&](std::string_view name) { return dtype.name == name; };
  if (is("F64") || is("C128")) return decode<double>;
  if (is("F32") || is("C64")) return decode<float>;
  if (is("I64")) return decode<std::int64_t>;
  if (is("I32")) return decode<std::int32_t>;
  if (is("I16")) return decode<std::int16_t>;
  if (is("I8")) return decode<std::int8_t>;
  if (is("U64")) return decode<std::uint64_t>;
  if (is("U32")) return decode<std::uint32_t>;
  if (is("U16")) return decode<std::uint16_t>;
  if (is("F16")) return [](const char* at) { return small_float(load<std::uint16_t>(at), 5, 10); };
  if (is("BF16")) return [](const char* at) { return small_float(load<std::uint16_t>(at), 8, 7); };
  if (is("F8_E4M3")) return [](const char* at) { return small_float(load<std::uint8_t>(at), 4, 3, true); };
  if (is("F8_E5M2")) return [](const char* at) { return small_float(load<std::uint8_t>(at), 5, 2); };
  if (is("F8_E8M0")) return [](const char* at) { return exponent_only(load<std::uint8_t>(at)); };
  return decode<std::uint8_t>;  // U8, BOOL
}

/// What is known of two tensors, element by element.
class Sum {
 public:
  Distance found;

  explicit Sum(const Tolerance& tolerance) : tolerance_(tolerance) {}

  /// `abs`: |a - b| of two that are not equal; `largest`: max(|a|, |b|)
  void add(double abs, double largest) {
    if (std::isnan(abs)) abs = std::numeric_limits<double>::infinity();
    found.max_abs = std::max(found.max_abs, abs);
    found.max_rel = std::max(found.max_rel, std::isinf(abs) ? abs : abs / largest);
    if (std::isinf(abs) || abs > std::max(tolerance_.atol, tolerance_.rtol * largest)) ++found.differing;
  }

  /// 64-bit whole numbers, which a double does not hold exactly.
  template <class T>
  void add_whole(const char* at_a, const char* at_b) {
    const auto a = load<T>(at_a), b = load<T>(at_b);
    if (a == b) return;
    const auto apart = a > b ? static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b)
                             : static_cast<std::uint64_t>(b) - static_cast<std::uint64_t>(a);
    const auto size = [](T value) { return std::abs(static_cast<double>(value)); };
    add(static_cast<double>(apart), std::max(size(a), size(b)));
  }

 private:
  Tolerance tolerance_;
};

struct Side {
  const Dtype& dtype;
  Decode decode;
  std::size_t width;  // of what is decoded at once

  explicit Side(const Dtype& d)
      : dtype(d), decode(decoder_of(d)), width(d.bytes / (d.name.starts_with('C') ? 2 : 1)) {}
};

void compare_pieces(Sum& sum, const Side& a, std::string_view of_a, const Side& b, std::string_view of_b) {
  if (&a.dtype == &b.dtype && of_a == of_b) return;
  const auto count = std::min(of_a.size() / a.width, of_b.size() / b.width);
  for (std::size_t i = 0; i < count; ++i) {
    const auto *at_a = of_a.data() + i * a.width, *at_b = of_b.data() + i * b.width;
    if (&a.dtype == &b.dtype && a.dtype.name == "I64") {
      sum.add_whole<std::int64_t>(at_a, at_b);
    } else if (&a.dtype == &b.dtype && a.dtype.name == "U64") {
      sum.add_whole<std::uint64_t>(at_a, at_b);
    } else {
      const double x = a.decode(at_a), y = b.decode(at_b);
      if (x == y || (std::isnan(x) && std::isnan(y))) continue;
      sum.add(std::abs(x - y), std::max(std::abs(x), std::abs(y)));
    }
  }
}

}  // namespace

Result<Distance> compare(const Tensor& a, const Tensor& b, const Tolerance& tolerance) {
  Sum sum(tolerance);
  TensorReader of_a(a), of_b(b);
  const Side side_a(*a.dtype), side_b(*b.dtype);
  for (;;) {
    const auto piece_a = of_a.next();
    if (!piece_a) return piece_a.error();
    const auto piece_b = of_b.next();
    if (!piece_b) return piece_b.error();
    if (piece_a->empty()) return sum.found;
    compare_pieces(sum, side_a, *piece_a, side_b, *piece_b);
  }
}

}  // namespace rtrain::tensors
