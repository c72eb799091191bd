#include <rtrain/data/sample_context.h>

#include <ATen/CPUGeneratorImpl.h>

namespace rtrain {
namespace {

/// The finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014):
/// a bijection in which each bit of the input changes half of the output.
constexpr std::uint64_t mixed(std::uint64_t bits) {
  bits += 0x9e3779b97f4a7c15;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
  return bits ^ (bits >> 31);
}

}  // namespace

std::uint64_t SampleContext::seed_of(std::int64_t index) const {
  return mixed(mixed(mixed(seed) ^ static_cast<std::uint64_t>(epoch)) ^ static_cast<std::uint64_t>(index));
}

// PyTorch's CPU generator takes the low 32 bits of a seed. Two samples of an epoch may then draw the same
// numbers, which does no harm.
at::Generator SampleContext::generator(std::int64_t index) const {
  return at::detail::createCPUGenerator(seed_of(index));
}

std::vector<at::Generator> SampleContext::generators(std::span<const std::int64_t> indices) const {
  std::vector<at::Generator> all;
  all.reserve(indices.size());
  for (const auto index : indices) all.push_back(generator(index));
  return all;
}

at::Generator SampleContext::batch_generator(std::span<const std::int64_t> indices) const {
  // Begins with another constant than a sample's seed: a batch of one sample must not draw its numbers again.
  auto bits = mixed(mixed(~seed) ^ static_cast<std::uint64_t>(epoch));
  for (const auto index : indices) bits = mixed(bits ^ static_cast<std::uint64_t>(index));
  return at::detail::createCPUGenerator(bits);
}

}  // namespace rtrain
