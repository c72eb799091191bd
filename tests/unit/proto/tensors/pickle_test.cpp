#include "proto/tensors/pickle.h"

#include "tests/support/catch.h"

namespace pickle_test {

using namespace rtrain;
using namespace rtrain::tensors;
using Catch::Matchers::Contains;

namespace {

std::string word(const std::string& text) {
  return std::string("\x8c") + static_cast<char>(text.size()) + text;  // SHORT_BINUNICODE
}
std::string name(const std::string& module, const std::string& what) {
  return "c" + module + "\n" + what + "\n";
}
std::string storage(const std::string& type, int count, const std::string& key = "0") {
  return "(" + word("storage") + name("torch", type) + word(key) + word("cpu") + "K" +
         static_cast<char>(count) + "tQ";
}
/// A tensor of that storage, with the given pickles of shape and strides.
std::string tensor(const std::string& storage, const std::string& shape, const std::string& strides,
                   const std::string& more = "") {
  return name("torch._utils", "_rebuild_tensor_v2") + "(" + storage + std::string("K\0", 2) + shape +
         strides + "\x89" + name("collections", "OrderedDict") + ")R" + more + "tR";
}
const std::string kTwo = "K\x02\x85", kOne = "K\x01\x85";

std::string refused(const std::string& text) {
  const auto pickle = unpickle(text);
  REQUIRE(pickle.has_error());
  CHECK(pickle.error().code() == Errc::kIo);
  CHECK(pickle.error().message().find('\n') == std::string::npos);
  return pickle.error().message();
}

}  // namespace

TEST_CASE("pickle: plain values", "[unit][proto]") {
  // {"a": (None, True, -1, 0.5), "b": [b"x", set()], 3: 70000}
  const auto pickle = unpickle("\x80\x02}(" + word("a") + "(N\x88J\xff\xff\xff\xffG" +
                               std::string("\x3f\xe0\0\0\0\0\0\0", 8) + "t" + word("b") + "](C\x01x\x8f" +
                               "eK\x03\x8a\x03\x70\x11\x01u.");
  REQUIRE(pickle.has_value());
  const auto& root = pickle->at(pickle->root);
  REQUIRE(root.kind == ValueKind::kDict);
  const auto* a = pickle->find(root, "a");
  REQUIRE(a != nullptr);
  REQUIRE(a->items.size() == 4);
  CHECK(pickle->at(a->items[0]).kind == ValueKind::kNone);
  CHECK(pickle->at(a->items[1]).integer == 1);
  CHECK(pickle->at(a->items[2]).integer == -1);
  CHECK(pickle->at(a->items[3]).real == 0.5);
  const auto* b = pickle->find(root, "b");
  REQUIRE(b != nullptr);
  CHECK(pickle->at(b->items[0]).text == "x");
  CHECK(pickle->at(b->items[1]).kind == ValueKind::kSet);
  CHECK(pickle->at(root.items[5]).integer == 70000);
  CHECK(pickle->find(root, "c") == nullptr);
}

TEST_CASE("pickle: whole numbers of any length", "[unit][proto]") {
  const auto number = [](const std::string& text) {
    const auto pickle = unpickle(text + ".");
    REQUIRE(pickle.has_value());
    return pickle->at(pickle->root);
  };
  CHECK(number(std::string("\x8a\x00", 2)).integer == 0);
  CHECK(number("\x8a\x01\xff").integer == -1);
  CHECK(number("\x8a\x08" + std::string(7, '\xff') + "\x7f").integer == INT64_MAX);
  const auto big = number(std::string("\x8a\x09\x01\0\0\0\0\0\0\0\x02", 11));
  CHECK(big.kind == ValueKind::kBigInt);
  CHECK(big.text == "0x020000000000000001");
}

TEST_CASE("pickle: tensors, parameters, sizes, devices and dtypes", "[unit][proto]") {
  const auto one = tensor(storage("FloatStorage", 2), kTwo, kOne);
  auto pickle = unpickle(one + ".");
  REQUIRE(pickle.has_value());
  REQUIRE(pickle->tensors.size() == 1);
  CHECK(pickle->tensors[0].dtype->name == "F32");
  CHECK(pickle->tensors[0].storage_bytes == 8);
  CHECK(pickle->tensors[0].shape == std::vector<std::int64_t>{2});

  pickle = unpickle(name("torch._utils", "_rebuild_parameter") + "(" + one + "\x88" +
                    name("collections", "OrderedDict") + ")RtR.");
  REQUIRE(pickle.has_value());
  CHECK(pickle->at(pickle->root).kind == ValueKind::kTensor);

  // float8 and unsigned types lie in storages without a type.
  pickle = unpickle(name("torch._utils", "_rebuild_tensor_v3") + "(" + "(" + word("storage") +
                    name("torch.storage", "UntypedStorage") + word("0") + word("cpu") + "K\x02tQ" +
                    std::string("K\0", 2) + kTwo + kOne + "\x89" + name("collections", "OrderedDict") + ")R" +
                    name("torch", "float8_e5m2") + "tR.");
  REQUIRE(pickle.has_value());
  CHECK(pickle->tensors[0].dtype->name == "F8_E5M2");

  pickle = unpickle(name("torch", "Size") + "K\x02\x85\x85R.");
  REQUIRE(pickle.has_value());
  CHECK(pickle->at(pickle->root).kind == ValueKind::kTuple);
  pickle = unpickle(name("torch", "device") + word("cuda") + "K\x01\x86R.");
  REQUIRE(pickle.has_value());
  CHECK(pickle->at(pickle->root).text == "cuda:1");
  pickle = unpickle(name("torch", "bfloat16") + ".");
  REQUIRE(pickle.has_value());
  CHECK(pickle->at(pickle->root).text == "bfloat16");
  pickle = unpickle(name("_codecs", "encode") + word("a\xc3\xbf") + word("latin1") + "\x86R.");
  REQUIRE(pickle.has_value());
  CHECK(pickle->at(pickle->root).text == "a\xff");
  pickle = unpickle(name("__builtin__", "set") + "](K\x01K\x02" + "e\x85R.");
  REQUIRE(pickle.has_value());
  CHECK(pickle->at(pickle->root).items.size() == 2);
  pickle = unpickle(name("collections", "defaultdict") + name("__builtin__", "list") + "\x85R.");
  REQUIRE(pickle.has_value());
  CHECK(pickle->at(pickle->root).kind == ValueKind::kDict);
}

TEST_CASE("pickle: everything else is refused by its name and not executed", "[unit][proto]") {
  CHECK_THAT(refused(name("posix", "system") + word("touch /tmp/x") + "\x85R."), Contains("posix.system"));
  CHECK_THAT(refused(word("os") + word("system") + "\x93" + word("true") + "\x85R."), Contains("os.system"));
  CHECK_THAT(refused(name("builtins", "eval") + word("1") + "\x85R."), Contains("builtins.eval"));
  CHECK_THAT(refused(name("torch", "load") + "."), Contains("torch.load"));
  CHECK_THAT(refused(name("argparse", "Namespace") + ")R}" + word("lr") + "K\x01sb."),
             Contains("argparse.Namespace"));
  CHECK_THAT(refused(name("collections", "OrderedDict") + "."), Contains("a class or a function as a value"));
  CHECK_THAT(refused(storage("FloatStorage", 2) + "."), Contains("storage of a tensor as a value"));
  CHECK_THAT(refused(name("builtins", "list") + "]\x85R."), Contains("only a name"));
  CHECK_THAT(refused("]}b."), Contains("sets attributes"));
  CHECK_THAT(refused("i1\nposix\nsystem\n."), Contains("opcode"));
  CHECK_THAT(refused(name(std::string(5000, 'x'), "y") + "."), Contains("..."));
}

TEST_CASE("pickle: broken ones end in one sentence", "[unit][proto]") {
  CHECK_THAT(refused(""), Contains("ends within"));
  CHECK_THAT(refused("\x80"), Contains("ends within"));
  CHECK_THAT(refused("\x80\x09N."), Contains("newer"));
  CHECK_THAT(refused("."), Contains("with one value"));
  CHECK_THAT(refused("NN."), Contains("with one value"));
  CHECK_THAT(refused("0."), Contains("empty stack"));
  CHECK_THAT(refused("N(0."), Contains("empty stack"));
  CHECK_THAT(refused("t."), Contains("mark"));
  CHECK_THAT(refused("h\x07."), Contains("recalls"));
  CHECK_THAT(refused("}(K\x01u."), Contains("cannot hold"));
  CHECK_THAT(refused("NNa."), Contains("cannot hold"));
  CHECK_THAT(refused("X\xff\xff\xff\xff"
                     "abc."),
             Contains("ends within"));
  CHECK_THAT(refused("\x8d" + std::string(8, '\xff') + "."), Contains("ends within"));
  CHECK_THAT(refused("}(K\x01NK\x01Nu."), Contains("two values of one key"));
  CHECK_THAT(refused("}(" + word("k") + "N" + word("k") + "Nu."), Contains("\"k\""));
  CHECK_THAT(refused("}(]Nu."), Contains("a key that is no text"));
  CHECK_THAT(refused(tensor(storage("FloatStorage", 2), "N", kOne) + "."), Contains("no tuple"));
  CHECK_THAT(refused(tensor(storage("FloatStorage", 2), word("x") + "\x85", kOne) + "."),
             Contains("whole number"));
  CHECK_THAT(refused(tensor("N", kTwo, kOne) + "."), Contains("do not fit"));
  CHECK_THAT(refused(tensor(storage("FloatStorage", 2), kTwo, kOne, "}(" + word("conj") + "\x88u") + "."),
             Contains("conjugated"));
  CHECK_THAT(refused(tensor(storage("NoStorage", 2), kTwo, kOne) + "."), Contains("torch.NoStorage"));
}

TEST_CASE("pickle: depth, cycles and shared values are bounded", "[unit][proto]") {
  const auto nested = [](std::size_t levels) {
    return std::string(levels, ']') + std::string(levels - 1, 'a') + ".";
  };
  CHECK(unpickle(nested(kPickleDepthMax)).has_value());
  CHECK_THAT(refused(nested(kPickleDepthMax + 1)), Contains("nested deeper"));
  CHECK_THAT(refused(nested(100'000)), Contains("nested deeper"));
  CHECK_THAT(refused("]q\x01h\x01"
                     "a."),
             Contains("holds itself"));
  // Each list holds the one before ten times.
  std::string laughs =
      "]N"
      "a";
  for (char level = 1; level < 30; ++level)
    laughs += std::string("q") + level + "0](" + [&] {
      std::string items;
      for (int i = 0; i < 10; ++i) items += std::string("h") + level;
      return items;
    }() + "e";
  CHECK_THAT(refused(laughs + "."), Contains("unfolds to more"));
  CHECK_THAT(refused("(" + std::string(kPickleValuesMax + 1, ']') + "l."), Contains("makes more than"));
  // The same bytes a million times over.
  std::string copies = name("_codecs", "encode") + "q\x01" + "0X" + std::string("\0\0\x10\0", 4) +
                       std::string(1 << 20, 'x') + "q\x02" + "0" + word("latin1") + "q\x03" + "0(";
  for (int i = 0; i < 100; ++i) copies += "h\x01h\x02h\x03\x86R";
  CHECK_THAT(refused(copies + "t."), Contains("too often"));
}

TEST_CASE("pickle: a state_dict that is written is read", "[unit][proto]") {
  const std::vector<std::int64_t> shape{2, 70000}, scalar, none{0, 3};
  const auto text = pickle_state_dict({{"w", find_dtype("F32"), shape},
                                       {"step", find_dtype("I64"), scalar},
                                       {"empty", find_dtype("BOOL"), none},
                                       {"f8", find_dtype("F8_E4M3"), shape}});
  const auto pickle = unpickle(text);
  REQUIRE(pickle.has_value());
  REQUIRE(pickle->tensors.size() == 4);
  CHECK(pickle->tensors[0].strides == std::vector<std::int64_t>{70000, 1});
  CHECK(pickle->tensors[0].storage_bytes == 560000);
  CHECK(pickle->tensors[1].shape.empty());
  CHECK(pickle->tensors[1].storage == "1");
  CHECK(pickle->tensors[2].storage_bytes == 0);
  CHECK(pickle->tensors[3].dtype->name == "F8_E4M3");
  CHECK(pickle->tensors[3].storage_bytes == 140000);
}

}  // namespace pickle_test
