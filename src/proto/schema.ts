/**
 * The ONNX file schema (ONNX 1.23, IR 13) as a compact table, and the message types made from it. Every field of the
 * format is listed with its number, so that nothing of a known file falls among the unknown fields.
 */

import { bug } from "../support/errors.ts";
import { type Field, fieldOf, MessageType } from "./message-type.ts";

/**
 * `name:type=number`, with `*` for repeated and `|` for members of one choice. Names
 * follow the format's own, in camel case. Numeric tensor data (`floatData` …) is declared as byte chunks: packed
 * fields have that wire form, and so they stay views and keep every bit.
 */
const messages: Readonly<Record<string, string>> = {
  ModelProto:
    "irVersion:int64=1 opsetImport:OperatorSetIdProto*=8 producerName:string=2 producerVersion:string=3 " +
    "domain:string=4 modelVersion:int64=5 docString:string=6 graph:GraphProto=7 " +
    "metadataProps:StringStringEntryProto*=14 trainingInfo:TrainingInfoProto*=20 functions:FunctionProto*=25 " +
    "configuration:DeviceConfigurationProto*=26",
  GraphProto:
    "node:NodeProto*=1 name:string=2 initializer:TensorProto*=5 sparseInitializer:SparseTensorProto*=15 " +
    "docString:string=10 input:ValueInfoProto*=11 output:ValueInfoProto*=12 valueInfo:ValueInfoProto*=13 " +
    "quantizationAnnotation:TensorAnnotation*=14 metadataProps:StringStringEntryProto*=16",
  NodeProto:
    "input:string*=1 output:string*=2 name:string=3 opType:string=4 domain:string=7 overload:string=8 " +
    "attribute:AttributeProto*=5 docString:string=6 metadataProps:StringStringEntryProto*=9 " +
    "deviceConfigurations:NodeDeviceConfigurationProto*=10",
  AttributeProto:
    "name:string=1 refAttrName:string=21 docString:string=13 type:int32=20 f:float=2 i:int64=3 s:bytes=4 " +
    "t:TensorProto=5 g:GraphProto=6 sparseTensor:SparseTensorProto=22 tp:TypeProto=14 floats:float*=7 ints:int64*=8 " +
    "strings:bytes*=9 tensors:TensorProto*=10 graphs:GraphProto*=11 sparseTensors:SparseTensorProto*=23 " +
    "typeProtos:TypeProto*=15",
  TensorProto:
    "dims:int64*=1 dataType:int32=2 segment:TensorSegment=3 floatData:bytes*=4 int32Data:bytes*=5 stringData:bytes*=6 " +
    "int64Data:bytes*=7 name:string=8 docString:string=12 rawData:bytes=9 externalData:StringStringEntryProto*=13 " +
    "dataLocation:int32=14 doubleData:bytes*=10 uint64Data:bytes*=11 metadataProps:StringStringEntryProto*=16",
  TensorSegment: "begin:int64=1 end:int64=2",
  SparseTensorProto: "values:TensorProto=1 indices:TensorProto=2 dims:int64*=3",
  ValueInfoProto: "name:string=1 type:TypeProto=2 docString:string=3 metadataProps:StringStringEntryProto*=4",
  TypeProto:
    "tensorType:TensorType=1| sequenceType:ElementType=4| mapType:MapType=5| optionalType:ElementType=9| " +
    "sparseTensorType:TensorType=8| opaqueType:OpaqueType=7| denotation:string=6",
  TensorType: "elemType:int32=1 shape:TensorShapeProto=2",
  ElementType: "elemType:TypeProto=1",
  MapType: "keyType:int32=1 valueType:TypeProto=2",
  OpaqueType: "domain:string=1 name:string=2",
  TensorShapeProto: "dim:Dimension*=1",
  Dimension: "dimValue:int64=1| dimParam:string=2| denotation:string=3",
  FunctionProto:
    "name:string=1 input:string*=4 output:string*=5 attribute:string*=6 attributeProto:AttributeProto*=11 " +
    "node:NodeProto*=7 docString:string=8 opsetImport:OperatorSetIdProto*=9 domain:string=10 overload:string=13 " +
    "valueInfo:ValueInfoProto*=12 metadataProps:StringStringEntryProto*=14",
  OperatorSetIdProto: "domain:string=1 version:int64=2",
  StringStringEntryProto: "key:string=1 value:string=2",
  TensorAnnotation: "tensorName:string=1 quantParameterTensorNames:StringStringEntryProto*=2",
  TrainingInfoProto:
    "initialization:GraphProto=1 algorithm:GraphProto=2 initializationBinding:StringStringEntryProto*=3 " + "updateBinding:StringStringEntryProto*=4",
  DeviceConfigurationProto: "name:string=1 numDevices:int32=2 device:string*=3",
  NodeDeviceConfigurationProto: "configurationId:string=1 shardingSpec:ShardingSpecProto*=2 pipelineStage:int32=3",
  ShardingSpecProto: "tensorName:string=1 device:int64*=2 indexToDeviceGroupMap:IntIntListEntryProto*=3 shardedDim:ShardedDimProto*=4",
  IntIntListEntryProto: "key:int64=1 value:int64*=2",
  ShardedDimProto: "axis:int64=1 simpleSharding:SimpleShardedDimProto*=2",
  SimpleShardedDimProto: "dimValue:int64=1| dimParam:string=2| numShards:int64=3",
};

const fieldPattern = /^(?<name>\w+):(?<type>\w+)(?<repeated>\*?)=(?<id>\d+)(?<choice>\|?)$/;

function fieldsOf(text: string): Field[] {
  return text.split(" ").map((part) => {
    const { name = "", type = "", repeated, id, choice } = fieldPattern.exec(part)?.groups ?? {};
    return fieldOf(name, type, Number(id), repeated === "*", choice === "|");
  });
}

const types = new Map<string, MessageType>();
for (const [name, text] of Object.entries(messages)) types.set(name, new MessageType(name, fieldsOf(text), types));

const typeNamed = (name: string): MessageType => types.get(name) ?? bug(`no message ${name}`);

/** Types of the messages that are coded on their own. */
export const modelType: MessageType = typeNamed("ModelProto");
export const tensorType: MessageType = typeNamed("TensorProto");
export const graphType: MessageType = typeNamed("GraphProto");
export const nodeType: MessageType = typeNamed("NodeProto");

/** Names of all message types and their fields with numbers, for conformance tests. */
export function schemaFields(): Map<string, Map<string, number>> {
  return new Map([...types.values()].map(({ name, fields }) => [name, new Map(fields.map((field) => [field.name, field.id]))]));
}
