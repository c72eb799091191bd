// What tests/golden/transforms/g_transforms.py wrote: sections of lines "type shape : values".
#pragma once

#include "tests/support/catch.h"
#include "tests/support/golden.h"

#include <rtrain/data/transforms.h>

#include <ATen/CPUGeneratorImpl.h>
#include <torch/torch.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace rtrain::test {

/// The script's SMALL: [3, 6, 7].
inline torch::Tensor small_image() {
  return (torch::arange(3 * 6 * 7) * 7919).remainder(256).to(torch::kByte).view({3, 6, 7});
}

/// The script's LARGE: [3, 17, 16].
inline torch::Tensor large_image() {
  const auto i = torch::arange(3 * 17 * 16);
  const auto waves = (i * i).div(7, "floor").remainder(97);
  return (waves + i.remainder(3) * 40).to(torch::kByte).view({3, 17, 16});
}

inline torch::Tensor golden_image(const std::string& line) {
  std::istringstream in(line.substr(0, line.find(':')));
  std::string type;
  in >> type;
  std::vector<std::int64_t> shape;
  for (std::int64_t size = 0; in >> size;) shape.push_back(size);
  const auto values = golden_numbers(line.substr(line.find(':') + 1));
  return torch::tensor(values, torch::kDouble).to(type == "u8" ? torch::kByte : torch::kFloat).view(shape);
}

/// @param bytes by how much values of uint8 may differ. Floating point may by 1e-6, relative to 1 or more.
inline void check_image(const torch::Tensor& found, const torch::Tensor& expected, double bytes = 0) {
  REQUIRE(found.sizes() == expected.sizes());
  REQUIRE(found.scalar_type() == expected.scalar_type());
  if (found.numel() == 0) return;
  const auto wanted = expected.to(torch::kDouble);
  const auto most = expected.scalar_type() == torch::kByte ? torch::full_like(wanted, bytes)
                                                           : 1e-6 * wanted.abs().clamp_min(1);
  const auto off = (found.to(torch::kDouble) - wanted).abs();
  INFO("differs most by " << off.max().item<double>());
  CHECK((off <= most).all().item<bool>());
}

/// @param images uint8, or float32 in 0..1.
using ImageFunction = std::function<torch::Tensor(const torch::Tensor& images)>;

/// What a title means here.
struct GoldenCase {
  ImageFunction given{};  ///< of sections with a line of uint8 and one of float32
  std::shared_ptr<const data::transforms::Transform> seeded{};  ///< of sections with a line for each seed
  bool is_large = false;
  double bytes = 0;  ///< check_image()
};

inline void check_golden_case(const GoldenCase& test, const GoldenSection& section) {
  const auto image = test.is_large ? large_image() : small_image();
  std::uint64_t seed = 0;
  for (const auto& line : section.lines) {
    const auto expected = golden_image(line);
    const auto input = line.starts_with("u8") ? image : image.to(torch::kFloat) / 255;
    INFO(section.title << ", " << line.substr(0, line.find(':')) << ", seed " << seed);
    if (test.given) {
      check_image(test.given(input), expected, test.bytes);
      // A batch is its images, each by itself.
      const auto other = input.flip(-1);
      const auto batch = test.given(torch::stack({input, other}));
      check_image(batch, torch::stack({test.given(input), test.given(other)}));
    } else {
      auto generator = at::detail::createCPUGenerator(seed++);
      check_image(test.seeded->apply(input, std::span(&generator, 1)), expected, test.bytes);
    }
  }
}

/// Each section of the file has a case, and each case a section.
/// @param path from tests/golden/.
inline void check_golden_images(const std::string& path, const std::map<std::string, GoldenCase>& cases) {
  std::size_t found = 0;
  for (const auto& section : golden_sections(path)) {
    INFO(section.title);
    REQUIRE(cases.contains(section.title));
    ++found;
    check_golden_case(cases.at(section.title), section);
  }
  CHECK(found == cases.size());
}

}  // namespace rtrain::test
