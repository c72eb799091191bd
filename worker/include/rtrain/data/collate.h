// Makes a batch of samples, as torch.utils.data.default_collate does.
#pragma once

#include <rtrain/batch.h>

#include <c10/core/ScalarType.h>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

namespace rtrain::data {

/// Two samples do not go into one batch. what() says which, and how they differ.
class RTRAIN_API CollateError : public std::invalid_argument {
 public:
  CollateError(const std::string& what, std::size_t sample, std::size_t other)
      : std::invalid_argument(what), sample_(sample), other_(other) {}
  [[nodiscard]] std::size_t sample() const { return sample_; }  ///< place in the batch, from 0
  [[nodiscard]] std::size_t other() const { return other_; }    ///< of the one it was compared with

 private:
  std::size_t sample_, other_;
};

/// The parts of a batch that are no tensors: of strings, one per sample.
template <class T>
struct List {
  std::vector<T> items{};
  void for_each_tensor(auto&&) {}
};

/// The lengths that pad_collate() found, int64 [N], on the CPU until the batch moves; target is undefined
/// unless targets were padded, too.
struct RTRAIN_API Lengths {
  torch::Tensor input{}, target{};
  void for_each_tensor(auto&& visit) { visit(input), visit(target); }
};

struct RTRAIN_API PadOptions {
  double padding_value = 0;  ///< behind the end of an input
  /// given: targets are sequences, padded with it (-100 is what cross_entropy leaves out). Default: targets
  /// are stacked
  std::optional<double> target_padding_value{};
};

namespace detail {

template <class T>
concept Number = std::integral<T> || std::same_as<T, float> || std::same_as<T, double>;
/// What becomes one tensor.
template <class T>
concept Leaf = std::same_as<T, torch::Tensor> || Number<T>;

template <class T>
inline constexpr bool kIsTuple = false;
template <class... T>
inline constexpr bool kIsTuple<std::tuple<T...>> = true;
template <class A, class B>
inline constexpr bool kIsTuple<std::pair<A, B>> = true;
template <class T>
inline constexpr bool kIsMap = false;
template <class T, class... More>
inline constexpr bool kIsMap<std::map<std::string, T, More...>> = true;

/// @param place of the tensors within a sample, for errors; "" if they are the samples.
/// @throws CollateError if shapes or types differ.
[[nodiscard]] RTRAIN_API torch::Tensor stacked(const std::vector<torch::Tensor>& samples,
                                               const std::string& place);
struct Padded {
  torch::Tensor values, lengths;  ///< [N, longest, ...]; [N]
};
[[nodiscard]] RTRAIN_API Padded padded(const std::vector<torch::Tensor>& sequences, double padding_value,
                                       const std::string& place);
[[noreturn]] RTRAIN_API void refuse_members(const std::type_info& type, std::size_t bytes,
                                            std::size_t tensors);
[[noreturn]] RTRAIN_API void refuse_keys(std::size_t sample, const std::string& missing);
[[noreturn]] RTRAIN_API void refuse_tensors(std::size_t sample, std::size_t own, std::size_t of_first);
[[noreturn]] RTRAIN_API void refuse_value(const std::string& why, std::size_t sample);

/// A tensor of one number per sample: float32 of float, float64 of double, bool, int64 of other integers.
template <Number T, class Get>
[[nodiscard]] torch::Tensor numbers(std::size_t count, const Get& get) {
  using Kept = std::conditional_t<std::integral<T> && !std::same_as<T, bool>, std::int64_t, T>;
  auto values = at::empty({static_cast<std::int64_t>(count)}, c10::CppTypeToScalarType<Kept>::value);
  auto* out = values.template mutable_data_ptr<Kept>();
  for (std::size_t i = 0; i < count; ++i) {
    const T value = get(i);
    if constexpr (std::unsigned_integral<T> && sizeof(T) == sizeof(std::int64_t)) {
      if (value > static_cast<T>(std::numeric_limits<std::int64_t>::max()))
        refuse_value(std::to_string(value) + " does not fit into int64", i);
    }
    out[i] = static_cast<Kept>(value);
  }
  return values;
}

template <Leaf T, class Get>
[[nodiscard]] torch::Tensor leaf(std::size_t count, const Get& get, const std::string& place) {
  if constexpr (Number<T>) {
    return numbers<T>(count, get);
  } else {
    std::vector<torch::Tensor> tensors;
    tensors.reserve(count);
    for (std::size_t i = 0; i < count; ++i) tensors.push_back(get(i));
    return stacked(tensors, place);
  }
}

template <class T, class Get>
[[nodiscard]] Batch collated(std::size_t count, const Get& get, const std::string& place);

template <class T, class Get, std::size_t... I>
[[nodiscard]] Batch collated_tuple(std::size_t count, const Get& get, const std::string& place,
                                   std::index_sequence<I...>) {
  const auto element = [&]<std::size_t K>() {
    return [&get](std::size_t i) -> const auto& { return std::get<K>(get(i)); };
  };
  const auto within = [&](std::size_t k) { return place + (place.empty() ? "" : ".") + std::to_string(k); };
  if constexpr (sizeof...(I) <= 2 && (Leaf<std::tuple_element_t<I, T>> && ...)) {
    Batch batch;
    std::array<torch::Tensor*, 2> into{&batch.input, &batch.target};
    ((*into[I] = leaf<std::tuple_element_t<I, T>>(count, element.template operator()<I>(), within(I))), ...);
    return batch;
  } else {
    Nested nested;
    (nested.items.emplace_back(std::to_string(I), collated<std::tuple_element_t<I, T>>(
                                                      count, element.template operator()<I>(), within(I))),
     ...);
    return nested;
  }
}

template <class T, class Get>
[[nodiscard]] Batch collated_map(std::size_t count, const Get& get, const std::string& place) {
  Nested nested;
  const auto& first = get(std::size_t{0});
  for (std::size_t i = 1; i < count; ++i) {
    for (const auto& [key, value] : first)
      if (!get(i).contains(key)) refuse_keys(i, key);
    for (const auto& [key, value] : get(i))
      if (!first.contains(key)) refuse_keys(0, key);
  }
  for (const auto& [key, value] : first) {
    const auto of_key = [&get, &name = key](std::size_t i) -> const auto& { return get(i).at(name); };
    nested.items.emplace_back(
        key, collated<typename T::mapped_type>(count, of_key, place + (place.empty() ? "" : ".") + key));
  }
  return nested;
}

template <BatchLike T, class Get>
[[nodiscard]] Batch collated_struct(std::size_t count, const Get& get, const std::string& place) {
  std::vector<std::vector<torch::Tensor>> members;  // members[k][i]: tensor k of sample i
  std::size_t own = 0;  // tensors of sample 0 that are members of the struct itself
  for (std::size_t i = 0; i < count; ++i) {
    T sample = get(i);
    std::size_t k = 0;
    sample.for_each_tensor([&](torch::Tensor& tensor) {
      const auto offset =
          reinterpret_cast<std::uintptr_t>(&tensor) - reinterpret_cast<std::uintptr_t>(&sample);
      if (i == 0 && offset < sizeof(T)) ++own;
      if (i == 0) members.emplace_back().reserve(count);
      if (k < members.size()) members[k].push_back(tensor);
      ++k;
    });
    if (k != members.size()) refuse_tensors(i, k, members.size());
  }
  // Of what for_each_tensor does not show, the batch could have the first sample's only.
  if (own != members.size() || sizeof(T) != own * sizeof(torch::Tensor))
    refuse_members(typeid(T), sizeof(T), members.size());
  T batch = get(std::size_t{0});
  std::size_t k = 0;
  batch.for_each_tensor([&](torch::Tensor& tensor) {
    tensor = stacked(members[k], place + (place.empty() ? "" : ".") + "tensor " + std::to_string(k));
    ++k;
  });
  return batch;
}

/// @param get const T& of a place in the batch.
template <class T, class Get>
[[nodiscard]] Batch collated(std::size_t count, const Get& get, const std::string& place) {
  if constexpr (Leaf<T>) {
    return leaf<T>(count, get, place);
  } else if constexpr (kIsTuple<T>) {
    return collated_tuple<T>(count, get, place, std::make_index_sequence<std::tuple_size_v<T>>{});
  } else if constexpr (kIsMap<T>) {
    return collated_map<T>(count, get, place);
  } else if constexpr (std::same_as<T, std::string>) {
    List<std::string> list;
    for (std::size_t i = 0; i < count; ++i) list.items.push_back(get(i));
    return list;
  } else if constexpr (std::same_as<T, Batch>) {
    for (std::size_t i = 0; i < count; ++i)
      if (get(i).has_value()) refuse_value("a Batch that holds a value of another type", i);
    return {leaf<torch::Tensor>(
                count, [&get](std::size_t i) { return get(i).input; }, "input"),
            leaf<torch::Tensor>(count, [&get](std::size_t i) { return get(i).target; }, "target")};
  } else if constexpr (BatchLike<T>) {
    return collated_struct<T>(count, get, place);
  } else {
    static_assert(Leaf<T>,
                  "no default collate for this type of sample: it has one for tensors, numbers, std::string, "
                  "std::pair, std::tuple, std::map<std::string, ...> of these, and structs of tensors with "
                  "for_each_tensor(); override MapDataset::collate()");
  }
}

}  // namespace detail

/// The default of MapDataset::collate(). What a sample is, and what the batch is then:
///
/// | sample | batch |
/// |---|---|
/// | torch::Tensor | input: the tensors stacked, [N, ...] |
/// | a number | input [N]: float32 of float, float64 of double, bool, int64 of other integers |
/// | std::pair, or std::tuple of at most two, of tensors and numbers | input of the first, target of the
/// second | | another std::pair or std::tuple | Nested, with the names "0", "1", ... | |
/// std::map<std::string, T> | Nested, with the keys as names | | std::string | List<std::string> | | a struct
/// of tensors with for_each_tensor() | the same struct, with its tensors stacked | | Batch without a value |
/// Batch, with input and target stacked |
///
/// @throws std::invalid_argument if there is no sample; CollateError if shapes, types or keys of two samples
///        differ; std::logic_error if a struct has members that are no tensors: override collate() for it.
template <class Sample>
[[nodiscard]] Batch collate(std::span<const Sample> samples) {
  if (samples.empty()) throw std::invalid_argument("collate: no samples given");
  return detail::collated<Sample>(
      samples.size(), [samples](std::size_t i) -> const Sample& { return samples[i]; }, "");
}

/// Batches of sequences of different lengths: input [N, longest, ...], filled up with padding_value, and
/// batch.as<data::Lengths>(). For MapDataset::collate():
///   Batch collate(std::span<const Sample> samples) const override { return data::pad_collate(samples); }
/// @tparam Sample a tensor [length, ...], or a std::pair of one with a target: a tensor or number.
/// @throws CollateError if dimensions behind the first, or types, differ.
template <class Sample>
[[nodiscard]] Batch pad_collate(std::span<const Sample> samples, const PadOptions& options = {}) {
  constexpr bool kPairs = detail::kIsTuple<Sample>;
  static_assert(kPairs || std::same_as<Sample, torch::Tensor>,
                "pad_collate takes tensors, or pairs of a tensor and a target");
  if (samples.empty()) throw std::invalid_argument("pad_collate: no samples given");
  std::vector<torch::Tensor> inputs;
  for (const auto& sample : samples) {
    if constexpr (kPairs)
      inputs.push_back(std::get<0>(sample));
    else
      inputs.push_back(sample);
  }
  auto input = detail::padded(inputs, options.padding_value, "input");
  Lengths lengths{.input = input.lengths};
  torch::Tensor target;
  if constexpr (kPairs) {
    using Target = std::tuple_element_t<1, Sample>;
    const auto get = [samples](std::size_t i) -> const auto& { return std::get<1>(samples[i]); };
    if (!options.target_padding_value) {
      target = detail::leaf<Target>(samples.size(), get, "target");
    } else if constexpr (std::same_as<Target, torch::Tensor>) {
      std::vector<torch::Tensor> targets;
      for (std::size_t i = 0; i < samples.size(); ++i) targets.push_back(get(i));
      auto padded = detail::padded(targets, *options.target_padding_value, "target");
      target = padded.values;
      lengths.target = padded.lengths;
    } else {
      throw std::invalid_argument("pad_collate: target_padding_value is given, but targets are numbers");
    }
  } else if (options.target_padding_value) {
    throw std::invalid_argument("pad_collate: target_padding_value is given, but samples have no target");
  }
  Batch batch = std::move(lengths);
  batch.input = std::move(input.values);
  batch.target = std::move(target);
  return batch;
}

}  // namespace rtrain::data
