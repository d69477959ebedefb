//! A DynamoDB full export (DYNAMODB_JSON), in a folder or in S3.
